"""The daily figures whose drift is watched, by segment: errors of what was served, and what the panel has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.monitor.health import ALL
from storecast.panel import Floats, Panel


@dataclass(frozen=True, eq=False)
class Groups:
    """Segments as sets of series: all of them, then each value of each segment column.

    Attributes:
        names: (S,) `column` and `segment` of each.
        members: (S, n) which series belong to it.
    """

    names: tuple[tuple[str, str], ...]
    members: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pd.DataFrame, columns: Sequence[str]) -> Groups:
        """The segments of a table by unique_id."""
        names: list[tuple[str, str]] = [("", ALL)]
        members = [np.ones(len(table), dtype=bool)]
        for column in columns:
            values = table[column].astype(str).to_numpy()
            for value in sorted(set(values)):
                names.append((column, value))
                members.append(values == value)
        return cls(tuple(names), np.array(members))

    @property
    def share(self) -> Floats:
        """(S,) share of all series that each holds."""
        return np.asarray(self.members.mean(axis=1))

    def decisive(self, least: float) -> Groups:
        """Those that hold at least that share of the series."""
        chosen = self.share >= least
        names = tuple(name for name, keep in zip(self.names, chosen, strict=True) if keep)
        return Groups(names, self.members[chosen])

    def mean(self, values: Floats) -> Floats:
        """(T, S) mean over each segment's series, of (n, T) values; NaN ones do not count."""
        seen = np.isfinite(values)
        total = self.members.astype(np.float64) @ np.where(seen, values, 0.0)
        count = self.members.astype(np.float64) @ seen.astype(np.float64)
        return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)).T


def panel_figures(panel: Panel, since: int) -> dict[str, Floats]:
    """(n, T) what may drift in the history from position `since` on: `zeros` (1 where nothing was sold),
    `level` (log(1+y) less its mean on the same weekday of the four weeks before), and of each known-future
    covariate its presence and its level."""
    y = panel.history[:, since:]
    seen = np.isfinite(y)
    logs = np.where(seen, np.log1p(np.maximum(np.where(seen, y, 0.0), 0.0)), np.nan)
    step = panel.frequency.week
    usual = np.mean([_later(logs, step * week) for week in (1, 2, 3, 4)], axis=0)
    out = {
        "zeros": np.where(seen, (y == 0).astype(np.float64), np.nan),
        "level": np.clip(logs - usual, -MOST, MOST),
    }
    for name, values in panel.known.items():
        part = values[:, since : panel.n_history]
        out[f"{name} present"] = (part > 0).astype(np.float64)
        out[f"{name} level"] = np.log1p(np.maximum(part, 0.0))
    return out


def served_errors(served: pd.DataFrame, panel: Panel, since: int) -> Floats:
    """(n, T) log(1+y) − log(1+yhat) of what was served, within ± `MOST`; NaN where one is not known."""
    out = np.full((panel.n_series, panel.n_history - since), np.nan)
    rows = pd.Index(panel.ids).get_indexer(pd.Index(served["unique_id"]))
    columns = panel.dates.get_indexer(pd.DatetimeIndex(served["ds"])) - since
    inside = (rows >= 0) & (columns >= 0) & (columns < out.shape[1])
    y = served["y"].to_numpy(np.float64)[inside]
    yhat = np.maximum(served["yhat"].to_numpy(np.float64)[inside], 0.0)
    out[rows[inside], columns[inside]] = np.clip(np.log1p(y) - np.log1p(yhat), -MOST, MOST)
    return out


MOST = 1.0
"""Largest error or change of level of one series that counts, on the log scale: a shop that opens or closes
is not to move the mean of all."""


def _later(values: Floats, dates: int) -> Floats:
    """(n, T) the values some dates later, NaN before."""
    out = np.full(values.shape, np.nan)
    out[:, dates:] = values[:, : values.shape[1] - dates] if dates < values.shape[1] else out[:, dates:]
    return out


def is_share(figure: str) -> bool:
    """Whether a figure of the panel is a share; the others are levels on the log scale."""
    return figure == "zeros" or figure.endswith(" present")
