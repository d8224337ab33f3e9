"""Optuna: a study whose trials any number of processes and pods work on. The only module that imports it.

The study lies in a database that all of them reach. What a trial tries depends on the seed, the trial's place
in the order and the trials finished before it, so one process that was killed goes on as if it had not been.
A trial whose process died is tried again: at once where nobody else on this machine works on the study, else
when its heartbeat has been missed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import multiprocessing
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from storecast.errors import ModelError, StorecastError, StoreError
from storecast.search_space import Choices, IntRange, Parameter, Scalar

if TYPE_CHECKING:
    from optuna import Trial

HEARTBEAT_SECONDS, SILENCE_SECONDS = 10, 60
POLL_SECONDS = 1.0
RETRIES = 2
RANDOM_TRIALS = 8
"""Trials drawn at random before the tree-structured Parzen estimator (Bergstra et al. 2011) chooses."""
UNPRUNED_TRIALS = 4
MOST_FAILED = 5
DEFAULT, FIRST, RETRIED, ERROR = "default", "first", "retried", "error"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FAILURES = (StorecastError, ArithmeticError, ValueError, LookupError, RuntimeError)

Score = Callable[[Mapping[str, Any], int], Iterator[float]]
"""The error after each fold, by the parameters' values and a number that stays when it is tried again."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is, and what it chooses.

    Attributes:
        url: SQLAlchemy URL of the database, such as sqlite:////home/tune.db or postgresql://...
        name: the study's name in it.
        lock: file on this machine that is locked by those who work on the study.
        space: the parameters by path.
        defaults: their values in the model's profile: what the first trial tries.
        seed: seeds every choice.
    """

    url: str
    name: str
    lock: Path
    space: Mapping[str, Parameter]
    defaults: Mapping[str, Any]
    seed: int

    def open(self) -> Study:
        """The study, made where it is missing.

        Raises:
            StoreError: the database cannot be reached.
        """
        with _clear_errors(self.url), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            wait = {"connect_args": {"timeout": 60}} if self.url.startswith("sqlite") else {}
            storage = optuna.storages.RDBStorage(
                self.url,
                engine_kwargs=wait,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=SILENCE_SECONDS,
                heartbeat_stale_trial_callback=_try_again,
            )
            return optuna.create_study(
                storage=storage,
                study_name=self.name,
                sampler=_SeededByTrial(self.seed, self.defaults),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
                load_if_exists=True,
            )


def go_on(place: StudyPlace) -> int:
    """Give the trials of dead processes back to the study; how many trials are finished.

    Trials are taken from nobody alive: on this machine the lock tells, and elsewhere the heartbeats do.
    """
    study = place.open()
    with _clear_errors(place.url):
        if place.url.startswith("sqlite"):
            with _locked(place.lock, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
                dead = study.get_trials(deepcopy=False, states=[TrialState.RUNNING]) if alone else []
                for trial in dead:
                    study.tell(trial.number, state=TrialState.FAIL)
                    _try_again(study, trial)
        return len(finished_trials(study))


def work(
    place: StudyPlace, score: Score, trials: int, deadline: float | None, progress: Callable[[int], None]
) -> int:
    """Work on a study until it has so many finished trials, whoever finishes them; how many were done here.

    Args:
        place: the study.
        score: measures a trial.
        trials: how many the study shall have; where several work on it, a few more may be begun.
        deadline: of `time.monotonic()`, after which no trial is begun; None: none.
        progress: called after each trial with how many were finished here.

    Raises:
        ModelError: the model with its own parameters fails, or too many others do.
        StoreError: the database cannot be reached.
    """
    study, done = place.open(), 0
    with _clear_errors(place.url), _locked(place.lock, fcntl.LOCK_SH), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        while _alive() and (deadline is None or time.monotonic() < deadline):
            left = trials - len(finished_trials(study))
            if left <= 0:
                break
            if left <= len(study.get_trials(deepcopy=False, states=[TrialState.RUNNING])):
                time.sleep(POLL_SECONDS)  # others are at the last ones; one of them may die
                optuna.storages.fail_stale_trials(study)
                continue
            study.optimize(lambda trial: _measured(trial, place, score), n_trials=1, catch=_TrialError)
            _refuse_failures(study)
            done += 1
            progress(done)
    return done


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that were measured, wholly or until they were pruned, by their number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def best_trial(study: Study) -> FrozenTrial | None:
    """The first of the best trials that were measured wholly."""
    whole = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min(whole, key=lambda trial: (trial.value or 0.0, trial.number), default=None)


def default_trial(study: Study) -> FrozenTrial | None:
    """The trial of the model's own parameters, once it is finished."""
    return next((t for t in finished_trials(study) if _is_default(t)), None)


def chosen(trial: FrozenTrial, place: StudyPlace) -> dict[str, Any]:
    """The values of a trial's parameters by path."""
    return {path: _decoded(place.space[path], value) for path, value in sorted(trial.params.items())}


def trials_table(study: Study, place: StudyPlace) -> pd.DataFrame:
    """One row per trial that ended.

    Columns: `trial`, `state`, `rmsle` (pooled over the `folds` that it was measured on), `seconds`, `default`
    (the model's own parameters), one per parameter, and `error` of a trial that failed.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.FAIL)):
        if _died(trial):
            continue  # it was tried again
        steps = trial.intermediate_values
        values = place.defaults if _is_default(trial) else chosen(trial, place)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "rmsle": steps[max(steps)] if steps else math.nan,
                "folds": len(steps),
                "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else math.nan,
                "default": _is_default(trial),
                **{path: _plain(values.get(path)) for path in place.space},
                "error": trial.user_attrs.get(ERROR, ""),
            }
        )
    return pd.DataFrame(rows)


class _TrialError(Exception):
    """A trial's model failed."""


class _SeededByTrial(BaseSampler):
    """Optuna's TPE with a seed of its own for each trial and parameter, so that it has no state to lose."""

    def __init__(self, seed: int, defaults: Mapping[str, Any]) -> None:
        self.seed, self.defaults = seed, defaults

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: parameters are drawn one by one."""
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """None."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The model's own value in the first trial; then TPE's, from the trials that are finished."""
        if _is_default(trial):
            return _encoded(self.defaults[param_name])
        earlier = study.get_trials(deepcopy=False)
        place = sum(t.number < trial.number and not _died(t) for t in earlier)
        digest = hashlib.sha256(f"{self.seed} {place} {param_name}".encode()).digest()
        tpe = TPESampler(seed=int.from_bytes(digest[:4], "big"), n_startup_trials=RANDOM_TRIALS)
        return tpe.sample_independent(study, trial, param_name, param_distribution)


def _measured(trial: Trial, place: StudyPlace, score: Score) -> float:
    """Choose a trial's values and measure them fold by fold; one worse than the median is given up."""
    default = trial.number == 0 or DEFAULT in trial.user_attrs
    if default:
        trial.set_user_attr(DEFAULT, True)
    inside = all(parameter.holds(place.defaults[path]) for path, parameter in place.space.items())
    drawn = {} if default and not inside else {p: _suggested(trial, p, s) for p, s in place.space.items()}
    values = {} if default else drawn
    error = math.nan
    try:
        for step, error in enumerate(score(values, trial.user_attrs.get(FIRST, trial.number)), start=1):
            if not math.isfinite(error):
                raise ModelError("the forecast is not a number", where=f"fold {step}")
            trial.report(error, step)
            if not default and trial.should_prune():
                raise optuna.TrialPruned
    except FAILURES as failure:
        if default:
            _queue(trial.study, trial.study.trials[trial.number], {})  # a later attempt begins with it
            raise
        trial.set_user_attr(ERROR, str(failure)[:1000])
        raise _TrialError from failure
    return error


def _suggested(trial: Trial, path: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choices):
        found = trial.suggest_categorical(path, [_encoded(choice) for choice in parameter.choices])
        return _decoded(parameter, found)
    if isinstance(parameter, IntRange):
        return trial.suggest_int(path, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_float(path, parameter.low, parameter.high, log=parameter.log)


def _encoded(value: Any) -> Scalar:
    """A value as Optuna keeps it: lists as JSON."""
    return value if isinstance(value, Scalar) else json.dumps(value)


def _decoded(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choices):
        return next(choice for choice in parameter.choices if _encoded(choice) == value)
    return value


def _plain(value: Any) -> Any:
    return value if value is None else _encoded(value)


def _is_default(trial: FrozenTrial) -> bool:
    return trial.number == 0 or DEFAULT in trial.user_attrs


def _died(trial: FrozenTrial) -> bool:
    """Whether a trial failed without an error: its process died."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def _try_again(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial whose process died, with its values; one that killed its process thrice is left alone."""
    retried = int(trial.user_attrs.get(RETRIED, 0))
    if retried < RETRIES:
        _queue(study, trial, {RETRIED: retried + 1})


def _queue(study: Study, trial: FrozenTrial, attributes: Mapping[str, Any]) -> None:
    default = {DEFAULT: True} if _is_default(trial) else {}
    first = {FIRST: trial.user_attrs.get(FIRST, trial.number)}
    waiting = create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={**trial.user_attrs, **first, **default, **attributes},
    )
    study.add_trial(waiting)


def _refuse_failures(study: Study) -> None:
    """Raise a ModelError where so many trials failed that the space must be wrong."""
    failed = study.get_trials(deepcopy=False, states=[TrialState.FAIL])
    errors = [t.user_attrs[ERROR] for t in failed if ERROR in t.user_attrs]
    if len(errors) >= MOST_FAILED and len(errors) > len(finished_trials(study)):
        raise ModelError(
            f"{len(errors)} trials failed, more than did not",
            where=f"study {study.study_name}",
            found=errors[-1],
            cure="narrow the search space to what the model can do",
        )


def _alive() -> bool:
    """Whether the process that started this worker lives; without it, nobody waits for the trials."""
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


@contextmanager
def _locked(path: Path, how: int) -> Iterator[bool]:
    """Hold the lock of a study on this machine; False where it is asked for without waiting and not free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _clear_errors(url: str) -> Iterator[None]:
    """The database's errors as ours, without the password that a URL may hold."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, ImportError) as error:
        raise StoreError(
            "the study's database cannot be used",
            where=re.sub(r"//[^@/\s]+@", "//***@", url),
            found=re.sub(r"//[^@/\s]+@", "//***@", str(error)).splitlines()[0],
            cure="check tuning_storage or --storage: an SQLAlchemy URL whose driver is installed",
        ) from error
