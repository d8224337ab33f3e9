"""Work on a study: trials, one after the other, until it has enough, whoever finishes them."""

from __future__ import annotations

import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import TrialState

from components.study.attempts import DEFAULT, ERROR, FIRST, queue, try_again
from components.study.place import StudyPlace, clear_errors
from components.study.trials import finished_trials
from components.study.values import suggested
from storecast.errors import ModelError, StorecastError
from storecast.store import locks

POLL_SECONDS = 1.0
MOST_FAILED = 5
FAILURES = (StorecastError, ArithmeticError, ValueError, LookupError, RuntimeError)

Score = Callable[[Mapping[str, Any], int], Iterator[float]]
"""The error after each fold, by the parameters' values and a number that stays when it is tried again."""


def go_on(place: StudyPlace) -> int:
    """Give the trials of dead processes back to the study; how many trials are finished.

    Trials are taken from nobody alive: on this machine the lock tells, and elsewhere the heartbeats do.
    """
    study = place.open()
    with clear_errors(place.url):
        if place.url.startswith("sqlite"):
            with locks.locked(place.lock, locks.ALONE | locks.AT_ONCE) as alone:
                dead = study.get_trials(deepcopy=False, states=[TrialState.RUNNING]) if alone else []
                for trial in dead:
                    study.tell(trial.number, state=TrialState.FAIL)
                    try_again(study, trial)
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
    with clear_errors(place.url), locks.locked(place.lock, locks.WITH_OTHERS), warnings.catch_warnings():
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


class _TrialError(Exception):
    """A trial's model failed."""


def _measured(trial: Trial, place: StudyPlace, score: Score) -> float:
    """Choose a trial's values and measure them fold by fold; one worse than the median is given up."""
    default = trial.number == 0 or DEFAULT in trial.user_attrs
    if default:
        trial.set_user_attr(DEFAULT, True)
    inside = all(parameter.holds(place.defaults[path]) for path, parameter in place.space.items())
    drawn = {} if default and not inside else {p: suggested(trial, p, s) for p, s in place.space.items()}
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
            queue(trial.study, trial.study.trials[trial.number], {})  # a later attempt begins with it
            raise
        trial.set_user_attr(ERROR, str(failure)[:1000])
        raise _TrialError from failure
    return error


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
