"""The cv table with models side by side: what a blend is chosen from, and made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.metrics import CV_COLUMNS, KEYS, QUANTILE_COLUMNS, check_columns
from storecast.panel import Floats

POINTS = ("yhat",)
VALUES = (*POINTS, *QUANTILE_COLUMNS)
ROWS_AT_ONCE = 1 << 16
"""Rows that are worked on at a time: what that takes does not grow with the table."""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Rows of a cv table that every model has.

    Attributes:
        models: names, sorted.
        keys: a row each: what else the table tells of it.
        y: (rows,) actuals.
        logs: (values, rows, M) log(1 + forecast), the points first, then quantiles where they were asked for.
        segments: (rows,) names.
    """

    models: list[str]
    keys: pd.DataFrame
    y: Floats
    logs: Floats
    segments: pd.Categorical

    @classmethod
    def of(cls, cv: pd.DataFrame, column: str, values: Sequence[str] = VALUES) -> SideBySide:
        """Take the table apart.

        Args:
            cv: the cv table of the models, with `column`.
            column: the segments'.
            values: columns of the forecasts that are wanted; with `POINTS` alone few keys, too.

        Raises:
            DataError: a column is missing, or the models do not have the same rows.
        """
        check_columns(cv, [*KEYS, "model", "y", *values, column])
        models = sorted(map(str, cv["model"].unique()))
        orders = orders_of(cv, models, "cv table")
        logs = np.empty((len(values), len(orders[0]), len(models)))
        for number, name in enumerate(values):
            forecast = cv[name].to_numpy(np.float64)
            for model, order in enumerate(orders):
                logs[number, :, model] = np.log1p(np.maximum(forecast[order], 0))
        told = [*KEYS, "y", column] if tuple(values) == POINTS else cv.columns.drop(["model", *values])
        keys = cv[list(told)].iloc[orders[0]].reset_index(drop=True)
        segments = pd.Categorical(keys[column].astype(str) if keys[column].isna().any() else keys[column])
        return cls(models, keys, keys["y"].to_numpy(np.float64), logs, segments.rename_categories(str))

    def parts(self) -> Iterator[slice]:
        """The rows, some at a time."""
        for start in range(0, len(self.y), ROWS_AT_ONCE):
            yield slice(start, min(start + ROWS_AT_ONCE, len(self.y)))

    def blended(self, model: str, column: str, blend: Callable[[Floats, list[str]], Floats]) -> pd.DataFrame:
        """The cv rows of a blend of all values.

        Args:
            model: the blend's name.
            column: the segments'.
            blend: from logs (1 + quantiles, rows, M) and the rows' segments to logs (1 + quantiles, rows).
        """
        out = self.keys.assign(model=model)
        logs = np.empty(self.logs.shape[:2])
        for part in self.parts():
            logs[:, part] = blend(self.logs[:, part], list(map(str, self.segments[part])))
        for name, values in zip(VALUES, logs, strict=True):
            out[name] = np.expm1(np.maximum(values, 0.0))
        return out[[*CV_COLUMNS, column]]


def orders_of(cv: pd.DataFrame, models: Sequence[str], where: str) -> list[NDArray[np.intp]]:
    """Positions of each model's rows by cutoff, series and date, the same ones for all.

    Args:
        cv: the cv table; every one of the models has rows in it.
        models: names.
        where: what an error names as its place.

    Raises:
        DataError: the models do not have the same rows.
    """
    keys = [_numbers(cv[key]) for key in KEYS]
    of_model, found = pd.factorize(cv["model"])
    numbers = {str(name): number for number, name in enumerate(found)}
    orders: list[NDArray[np.intp]] = []
    for name in models:
        rows = np.flatnonzero(of_model == numbers[name])
        rows = rows[np.lexsort([key[rows] for key in reversed(keys)])]
        first = orders[0] if orders else rows
        if len(rows) != len(first) or not all(np.array_equal(key[rows], key[first]) for key in keys):
            raise DataError(
                f"models {models[0]!r} and {name!r} were not backtested on the same rows",
                where=where,
                expected=f"{len(first)} rows with the same cutoff, unique_id and ds",
                found=f"{len(rows)} rows",
                cure="backtest every model on the same folds and series",
            )
        orders.append(rows)
    return orders


def _numbers(column: pd.Series) -> NDArray[np.int32]:
    """Numbers that tell values apart, in their order."""
    return column.factorize(sort=True)[0].astype(np.int32)
