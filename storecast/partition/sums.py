"""Forecasts of sums over all partitions, from what their releases hold of the series.

A partition's sums end where it ends, and intervals do not add up. What adds up are the series' means; and how
far a sum is missed, the partitions' backtests tell together, as one panel's backtest would.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.aggregates import interval_factors, nodes_on_dates, with_intervals
from storecast.hierarchy import Hierarchy
from storecast.panel import Floats


class Part(NamedTuple):
    """What a partition's release holds.

    Attributes:
        forecasts: `unique_id, ds, h, yhat, mean` of each of its series.
        backtest: `unique_id, cutoff, ds, h, y, yhat` of the released model, any number of folds.
    """

    forecasts: pd.DataFrame
    backtest: pd.DataFrame


def joined_sums(ids: NDArray[np.object_], static: pd.DataFrame, parts: Iterable[Part]) -> pd.DataFrame:
    """Sums of the series of all partitions by each static column, and the total.

    Args:
        ids: (n,) the series of all partitions, one partition after the other.
        static: (n, ...) what each sum is of.
        parts: the partitions in the same order; memory holds one at a time, and the sums.

    Returns:
        As a partition's own table: `level, value, ds, h, mean, points, lower_80, upper_80, ...`. Intervals
        are told by how the sums of points were missed (`storecast.sums.miss_factors`).
    """
    hierarchy = Hierarchy.of(static)
    ahead, folds = _Added(hierarchy, ("mean", "yhat", "known")), dict[pd.Timestamp, _Added]()
    start = 0
    for part in parts:
        series = part.forecasts["unique_id"].nunique()
        rows, start = slice(start, start + series), start + series
        names = pd.Index(ids[rows])
        ahead.add(names, rows, part.forecasts.assign(known=1.0))
        known = part.backtest["y"].notna()
        told = part.backtest.assign(
            y=part.backtest["y"].fillna(0.0), yhat=part.backtest["yhat"].where(known, 0.0), known=known
        )
        for cutoff, fold in told.groupby("cutoff"):
            of = folds.setdefault(pd.Timestamp(str(cutoff)), _Added(hierarchy, ("y", "yhat", "known")))
            of.add(names, rows, fold)
    tables = [folds[cutoff].table(y="y", mean="yhat") for cutoff in sorted(folds)]
    return with_intervals(ahead.table(mean="mean", points="yhat"), interval_factors(hierarchy, tables))


class _Added:
    """Columns of series, added up by node and date."""

    def __init__(self, hierarchy: Hierarchy, columns: Sequence[str]) -> None:
        self._hierarchy, self._columns = hierarchy, tuple(columns)
        self._dates = pd.DatetimeIndex([])
        self._sums: dict[str, Floats] = {}

    def add(self, names: pd.Index, rows: slice, frame: pd.DataFrame) -> None:
        """Add a table of the series `rows` of the hierarchy, of these names."""
        if not self._sums:
            self._dates = pd.DatetimeIndex(np.sort(frame["ds"].unique()))
            shape = (len(self._hierarchy.nodes), len(self._dates))
            self._sums = {name: np.zeros(shape) for name in self._columns}
        own = Hierarchy(self._hierarchy.nodes, self._hierarchy.codes[:, rows])
        series = names.get_indexer(pd.Index(frame["unique_id"]))
        day = self._dates.get_indexer(pd.Index(frame["ds"]))
        there = (series >= 0) & (day >= 0)  # a backtest may be of series that are no more
        for name in self._columns:
            values = np.zeros((len(names), len(self._dates)))
            values[series[there], day[there]] = frame[name].to_numpy(np.float64)[there]
            self._sums[name] += own.sums(values)

    def table(self, **columns: str) -> pd.DataFrame:
        """`level, value, ds, h` and the sums by the names given to them; NaN where no series is known."""
        known = self._sums["known"] > 0
        told = {name: np.where(known, self._sums[column], np.nan).ravel() for name, column in columns.items()}
        return nodes_on_dates(self._hierarchy, self._dates).assign(**told)
