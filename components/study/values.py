"""A parameter's values, as a trial draws them and as Optuna keeps them."""

from __future__ import annotations

import json
from typing import Any

from optuna import Trial

from storecast.search_space import Choices, IntRange, Parameter, Scalar


def suggested(trial: Trial, path: str, parameter: Parameter) -> Any:
    """A value for a trial, of those that the parameter may have."""
    if isinstance(parameter, Choices):
        found = trial.suggest_categorical(path, [encoded(choice) for choice in parameter.choices])
        return decoded(parameter, found)
    if isinstance(parameter, IntRange):
        return trial.suggest_int(path, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_float(path, parameter.low, parameter.high, log=parameter.log)


def encoded(value: Any) -> Scalar:
    """A value as Optuna keeps it: lists as JSON."""
    return value if isinstance(value, Scalar) else json.dumps(value)


def decoded(parameter: Parameter, value: Any) -> Any:
    """A value as the model takes it, from what Optuna keeps."""
    if isinstance(parameter, Choices):
        return next(choice for choice in parameter.choices if encoded(choice) == value)
    return value


def plain(value: Any) -> Any:
    """A value for a table: lists as JSON, and nothing where there is none."""
    return value if value is None else encoded(value)
