"""What the trials of a study say: which are finished, the best, the default's, and all of them as a table."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from components.study.attempts import ERROR, died, is_default
from components.study.place import StudyPlace
from components.study.values import decoded, plain

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that were measured, wholly or until they were pruned, by their number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def best_trial(study: Study) -> FrozenTrial | None:
    """The first of the best trials that were measured wholly."""
    whole = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min(whole, key=lambda trial: (trial.value or 0.0, trial.number), default=None)


def default_trial(study: Study) -> FrozenTrial | None:
    """The trial of the model's own parameters, once it is finished."""
    return next((t for t in finished_trials(study) if is_default(t)), None)


def chosen(trial: FrozenTrial, place: StudyPlace) -> dict[str, Any]:
    """The values of a trial's parameters by path."""
    return {path: decoded(place.space[path], value) for path, value in sorted(trial.params.items())}


def trials_table(study: Study, place: StudyPlace) -> pd.DataFrame:
    """One row per trial that ended.

    Columns: `trial`, `state`, `rmsle` (pooled over the `folds` that it was measured on), `seconds`, `default`
    (the model's own parameters), one per parameter, and `error` of a trial that failed.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.FAIL)):
        if died(trial):
            continue  # it was tried again
        steps = trial.intermediate_values
        values = place.defaults if is_default(trial) else chosen(trial, place)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "rmsle": steps[max(steps)] if steps else math.nan,
                "folds": len(steps),
                "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else math.nan,
                "default": is_default(trial),
                **{path: plain(values.get(path)) for path in place.space},
                "error": trial.user_attrs.get(ERROR, ""),
            }
        )
    return pd.DataFrame(rows)
