"""Where boosting starts from: the recent level, moved by what the covariates' effects let expect.

Trees forecast within the range of what they have seen; a promotion that lifts a family fifty-fold in a store
is outside it everywhere else. The feature table's `*_effect_*` columns extrapolate such lifts, so they enter
as a linear spline (a small effect is mostly noise, a large one mostly real), fitted by ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from storecast.features import FeatureTable
from storecast.panel import Floats

KNOTS = (0.0, 0.5, 1.5)
"""Effects count beyond each of these, on the log scale, with a weight of its own."""
RIDGE = 100.0
"""In rows: pulls the weights of effects that are rarely seen to 0."""


def offset_names(names: Sequence[str]) -> list[str]:
    """The columns that enter the offset, each once per knot."""
    return [name for name in names if "_effect_" in name]


def fit_offset(table: FeatureTable) -> Floats:
    """(columns · knots,) weights of the spline, by ridge regression of log(1+y) - base.

    Rows are taken in portions, so that memory holds little more than the table.
    """
    names = offset_names(table.names)
    size = len(names) * len(KNOTS)
    gram, moment = RIDGE * np.eye(size), np.zeros(size)
    for rows in _portions(len(table.y)):
        x = _spline(table, names, rows)
        gap = np.log1p(table.y[rows].astype(np.float64)) - table.column("base")[rows]
        gram += x.T @ x
        moment += x.T @ gap
    return np.round(np.linalg.solve(gram, moment), 6) if size else moment


def offset(table: FeatureTable, weights: Floats) -> Floats:
    """(rows,) the start of each row on the scale of log(1+y)."""
    start = table.column("base").astype(np.float64)
    names = offset_names(table.names)
    for rows in _portions(len(start)):
        start[rows] += _spline(table, names, rows) @ weights
    return start


def _spline(table: FeatureTable, names: Sequence[str], rows: slice) -> Floats:
    """(rows, columns · knots) the part of each effect beyond each knot, with its sign."""
    columns = [np.nan_to_num(table.column(name)[rows].astype(np.float64)) for name in names]
    parts = [np.sign(x) * np.maximum(np.abs(x) - knot, 0.0) for x in columns for knot in KNOTS]
    return np.column_stack(parts) if parts else np.empty((len(table.y[rows]), 0))


def _portions(size: int, portion: int = 200_000) -> list[slice]:
    return [slice(start, start + portion) for start in range(0, size, portion)]
