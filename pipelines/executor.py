"""Where stages run: the training flow hands each stage to an executor, and asks for its URI when it needs it.

`InProcess` calls the stage's function as a Prefect task; `pipelines.pods` runs it in a pod of a work pool.
Both run the same function with the same arguments, so they make the same data sets.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeAlias

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from components.stage import progress
from components.stages import STAGES
from storecast.errors import StorecastError, StoreError

P = ParamSpec("P")

RETRY_DELAYS = [2.0, 10.0]
"""Seconds before a stage is tried again in process."""


class Made(Protocol):
    """A stage's output under way: `result` waits for it and gives its URI."""

    def result(self) -> str:
        """The URI.

        Raises:
            StorecastError: the stage failed, and what is in its way.
        """
        ...


Argument: TypeAlias = str | Made | Sequence[str | Made]
"""A stage's argument: a value, or what another stage makes, or a list of these."""


class Executor(Protocol):
    """Runs stages."""

    fans_out: bool
    """Whether the shards of a local model are stages of their own."""

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        """Run a stage once what it needs is there.

        Args:
            stage: a name of `components.stages`.
            label: what people see; unique within the run.
            arguments: of the stage's function.
            gpu: whether it trains faster on a GPU.
            after: what must have been made before, though it is no argument.
        """
        ...


@dataclass(frozen=True)
class Known:
    """What is there already."""

    uri: str

    def result(self) -> str:
        """The URI."""
        return self.uri


class InProcess:
    """Each stage as a Prefect task in this process, one after the other."""

    fans_out = False

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        """Run the stage now."""
        del gpu
        for made in after:
            made.result()
        try:
            return Known(stage_task(call_stage, label, RETRY_DELAYS)(stage, label, resolved(arguments)))
        except Exception:
            progress.raise_lost()
            raise


def stage_task(work: Callable[P, str], label: str, delays: list[float]) -> Task[P, str]:
    """A function that runs a stage as a Prefect task, tried again after each of `delays`, in seconds."""
    return task(
        name=label,
        task_run_name=label,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(work)


def call_stage(stage: str, label: str, arguments: Mapping[str, Any]) -> str:
    """Call a stage's function here, showing its progress under a label; the URI of what it made."""
    with progress.stage(label):
        return str(stage_function(stage)(**arguments).uri)


def stage_function(stage: str) -> Callable[..., Any]:
    """The function of a stage; importing it may take seconds.

    Raises:
        KeyError: there is no such stage.
    """
    run: Callable[..., Any] = importlib.import_module(STAGES[stage]).run
    return run


def resolved(arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """Arguments with the URIs of what was made in them; waits for them."""
    return {name: _value(argument) for name, argument in arguments.items()}


def _value(argument: Argument) -> Any:
    if isinstance(argument, str):
        return argument
    if isinstance(argument, Sequence):
        return [_value(item) for item in argument]
    return argument.result()


def worth_retrying(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Wrong data and wrong settings stay wrong; storage and servers come back."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoreError) or not isinstance(error, StorecastError)
