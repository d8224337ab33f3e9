"""The training run as a plan: its stages and what each needs, before there are any data.

The fits are those of `pipelines.steps`, submitted to an executor that only notes them. What depends on the
data there is left to the stages here: cutoffs are counted from the panel's end, the gate finds the current
release itself, and its count `release` says which of two branches is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn, TypeAlias

from pipelines.executor import Argument, Made
from pipelines.steps import TrainingRun
from storecast.actuals import KEPT
from storecast.training_config import load_training_config


class Parameter(str):
    """A value that is given when the plan is run; the text is its name."""

    __slots__ = ()


class Branch(Enum):
    """When a step is run."""

    ALWAYS = "always"
    RELEASE = "release"
    """There is something to release: the gate's count `release` is true."""
    NO_RELEASE = "no release"


@dataclass(frozen=True, eq=False)
class Step:
    """A stage that will be run; as an argument of another, the URI of what it will make.

    Attributes:
        stage: a name of `components.stages`.
        label: what people see; unique within the plan.
        arguments: of the stage's function.
        flags: its switches that are on.
        gpu: whether it trains faster on a GPU.
        after: what must have been made before, though it is no argument.
        branch: when it is run.
    """

    stage: str
    label: str
    arguments: Mapping[str, PlannedArgument]
    flags: tuple[str, ...] = ()
    gpu: bool = False
    after: tuple[Step, ...] = ()
    branch: Branch = Branch.ALWAYS

    def needs(self) -> list[Step]:
        """The steps whose outputs are its arguments."""
        found: list[Step] = []
        for argument in self.arguments.values():
            items = [argument] if isinstance(argument, (str, Step)) else argument
            found += [item for item in items if isinstance(item, Step)]
        return found

    def result(self) -> NoReturn:
        """There is no URI yet.

        Raises:
            TypeError: always; whoever plans must not need what is made.
        """
        raise TypeError(f"{self.label!r} is planned, not made")


PlannedArgument: TypeAlias = str | Step | Sequence[str | Step]


@dataclass
class Planner:
    """An executor that runs nothing and keeps what it is told to run."""

    fans_out: bool
    steps: list[Step] = field(default_factory=list)

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Step:
        """Note a stage. What is empty is left out: it is the default."""
        given = {name: _planned(value) for name, value in arguments.items() if value}
        if not self.fans_out:
            given.pop("shard", None)  # how many there are is seen when the stage is run
        return self.add(Step(stage, label, given, gpu=gpu, after=tuple(map(_step, after))))

    def add(self, step: Step) -> Step:
        """Note a step."""
        self.steps.append(step)
        return step


@dataclass(frozen=True)
class Plan:
    """The steps of a training run, each after those that it needs, and the one that chooses the branch."""

    training: str
    steps: tuple[Step, ...]
    gate: Step


def plan_training(training: str, series: int = 0) -> Plan:
    """Plan a training run with the parameters `dataset`, `data` and `workspace`.

    Args:
        training: training config, by name or file.
        series: about how many series the panel has; then shards of local models are steps of their own.
            0: a local model's fit is one step.

    Raises:
        ConfigError: there is no such config, or it is wrong.
    """
    planner, folds = Planner(fans_out=series > 0), load_training_config(training).folds
    workspace = Parameter("workspace")
    run = TrainingRun(planner, Parameter("dataset"), Parameter("data"), training, workspace)
    start = {"dataset": run.dataset, "data": run.data, "actuals": KEPT, "workspace": workspace}
    panel = planner.submit("ingest", "ingest", start)
    cutoffs = [*(f"fold:{k}/{folds}" for k in range(1, folds + 1)), "last"]
    fits = run.fit_all(panel, cutoffs, series)
    about: dict[str, Argument] = {"panel": panel, "workspace": workspace}
    trained = {**about, "training": training}
    scores = planner.submit("evaluate", "evaluate", {**trained, "fit": fits.folds})
    about["evaluation"] = trained["evaluation"] = scores
    gate = planner.submit("gate", "gate", {**trained, "champion": "current"})
    about["decision"] = trained["decision"] = gate
    report = planner.submit("report", "report", {**trained, "fit": [*fits.folds, *fits.final]})
    released = _release(planner, about, fits.final, report)
    kept = {**trained, "report": report}
    tracked = _later(planner, Branch.RELEASE, "register", {**kept, "release": released})
    _later(planner, Branch.NO_RELEASE, "register", kept, label="register without a release")
    last: dict[str, Argument] = {"release": released, "workspace": workspace}
    _later(planner, Branch.RELEASE, "activate", last, flags=("once",), after=(tracked,))
    return Plan(training, tuple(planner.steps), gate)


def _release(planner: Planner, about: Mapping[str, Argument], fits: Sequence[Made], report: Step) -> Step:
    forecast = _later(planner, Branch.RELEASE, "forecast", {**about, "fit": fits})
    made = {**about, "forecast": forecast, "report": report}
    return _later(planner, Branch.RELEASE, "release", made)


def _later(
    planner: Planner,
    branch: Branch,
    stage: str,
    arguments: Mapping[str, Argument],
    *,
    label: str = "",
    flags: tuple[str, ...] = (),
    after: tuple[Step, ...] = (),
) -> Step:
    given = {name: _planned(value) for name, value in arguments.items()}
    return planner.add(Step(stage, label or stage, given, flags=flags, after=after, branch=branch))


def _planned(argument: Argument) -> PlannedArgument:
    if isinstance(argument, str):
        return argument
    return (
        [i if isinstance(i, str) else _step(i) for i in argument]
        if isinstance(argument, Sequence)
        else _step(argument)
    )


def _step(made: Made) -> Step:
    if not isinstance(made, Step):
        raise TypeError(f"a plan is made of planned steps, not of {made!r}")
    return made
