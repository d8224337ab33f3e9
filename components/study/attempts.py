"""Marks of a trial: whether it is that of the model's own parameters, and whether its process died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

RETRIES = 2
DEFAULT, FIRST, RETRIED, ERROR = "default", "first", "retried", "error"


def is_default(trial: FrozenTrial) -> bool:
    """Whether a trial is that of the model's own parameters."""
    return trial.number == 0 or DEFAULT in trial.user_attrs


def died(trial: FrozenTrial) -> bool:
    """Whether a trial failed without an error: its process died."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def try_again(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial whose process died, with its values; one that killed its process thrice is left alone."""
    retried = int(trial.user_attrs.get(RETRIED, 0))
    if retried < RETRIES:
        queue(study, trial, {RETRIED: retried + 1})


def queue(study: Study, trial: FrozenTrial, attributes: Mapping[str, Any]) -> None:
    """Let a trial's values be tried once more, by whoever is next, with further attributes."""
    default = {DEFAULT: True} if is_default(trial) else {}
    first = {FIRST: trial.user_attrs.get(FIRST, trial.number)}
    waiting = create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={**trial.user_attrs, **first, **default, **attributes},
    )
    study.add_trial(waiting)
