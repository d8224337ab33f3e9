"""A recursive booster: LightGBM learns the next date from the last ones, and its forecasts are fed back.

It sees the last days' sales one by one, where a direct model of day 16 has none later than 16 days old; for
that, what it gets wrong goes on into the later days. What it learns is the change from the level of the last
weeks: learnt as they are, levels are drawn back day by day to where they used to be. Its errors differ from
those of the direct boosters (`storecast.models.booster`), with which its forecasts are averaged.

Direct and recursive forecasts of several steps: Ben Taieb et al., "A review and comparison of strategies for
multi-step ahead time series forecasting" (2012).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from storecast.features import Lags
from storecast.features.lags import BASE, reach
from storecast.models.base import FitContext
from storecast.models.booster import (
    FEWEST_ROWS,
    Report,
    TreesConfig,
    read_text,
    text_of,
    train,
)
from storecast.panel import Floats, Panel

CELLS_AT_ONCE = 10_000_000
"""Values of the past, (series, dates, dates back), that are looked at at a time."""

TEXT, CATEGORIES = "recursive.txt", "recursive.json"
Categories = Mapping[str, Sequence[str]]


class RecursiveConfig(TreesConfig):
    """Parameters of the recursive booster."""

    window_days: int = Field(default=576, gt=0, description="Days before the cutoff to learn from.")
    half_life_days: float = Field(default=10_000.0, gt=0, description="Age at which a row weighs half.")
    rounds: int = Field(default=400, ge=1, description="Trees.")
    learning_rate: float = Field(default=0.08, gt=0, le=1)
    min_rows: int = Field(default=20, ge=1, description="Rows in a leaf, at least.")
    row_fraction: float = Field(default=0.7, gt=0, le=1, description="Rows each tree sees.")
    most_rows: int = Field(
        default=1_500_000, ge=1, description="Rows to learn from; of a larger panel some dates, at random."
    )


@dataclass(frozen=True, eq=False)
class Recursive:
    """A fitted recursive booster: one LightGBM model of all series."""

    model: Any
    categories: Categories

    @classmethod
    def fit(
        cls,
        config: RecursiveConfig,
        panel: Panel,
        categories: Categories,
        context: FitContext,
        seed: int,
        report: Report,
    ) -> Self | None:
        """Learn each date of the window from the dates before it; None where there are too few rows.

        Args:
            config: of this booster.
            panel: the history.
            categories: the values of the static columns by code.
            context: of the fit.
            seed: of this booster, and of the choice of dates.
            report: called with the number of trees grown so far.
        """
        dates = panel.dates[: panel.n_history]
        positions = np.flatnonzero(dates > panel.cutoff - pd.Timedelta(days=config.window_days))
        positions = positions[positions > 0]
        most = max(1, config.most_rows // panel.n_series)
        if len(positions) > most:
            positions = np.sort(np.random.default_rng(seed).choice(positions, most, replace=False))
        target = np.log1p(np.maximum(panel.y[:, positions], 0.0))
        known = ~np.isnan(target)
        if known.sum() < FEWEST_ROWS:
            return None
        lags = Lags(panel, categories)
        values = _in_parts(lags, positions, known)
        age = np.asarray((panel.cutoff - dates[positions]).days, dtype=np.float64)
        weight = np.broadcast_to(0.5 ** (age / config.half_life_days), target.shape)[known]
        change: Floats = target[known] - values[:, lags.names.index(BASE)].astype(np.float64)
        return cls(train(config, values, change, weight, lags.names, context, seed, report), categories)

    def prepare(self, panel: Panel) -> Lags:
        """What `predict` needs of the panel's past, for being asked about several known futures."""
        return Lags(panel.last(reach(panel.freq)), self.categories)

    def predict(
        self, panel: Panel, rows: NDArray[np.int64] | None = None, prepared: Lags | None = None
    ) -> Floats:
        """(n, H) log(1+y) ≥ 0 after the panel's cutoff; NaN for series without history.

        Args:
            panel: the history and the known future.
            rows: positions of the series to forecast; all if None.
            prepared: what `prepare` made of a panel with the same history.
        """
        rows = np.arange(panel.n_series) if rows is None else rows
        recent = panel.last(reach(panel.freq))
        lags = (prepared or self.prepare(panel)).asked(recent, rows)
        found = np.empty((len(rows), panel.horizon))
        for ahead in range(panel.horizon):
            at = recent.n_history + ahead
            values = lags.features(np.array([at]))[:, 0]
            base = values[:, lags.names.index(BASE)]
            found[:, ahead] = np.maximum(base + self.model.predict(values, num_threads=1), 0.0)
            lags.put(at, found[:, ahead])
        found[~np.isfinite(panel.history[rows]).any(axis=1)] = np.nan
        return found

    def save(self, folder: Path) -> None:
        """Write the model as LightGBM's own text, and the categories."""
        (folder / TEXT).write_text(text_of(self.model))
        categories = {name: list(values) for name, values in self.categories.items()}
        (folder / CATEGORIES).write_text(json.dumps(categories))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read back what `save` wrote; None where it wrote nothing."""
        if not (folder / TEXT).exists():
            return None
        return cls(read_text(folder / TEXT), json.loads((folder / CATEGORIES).read_text()))


def _in_parts(lags: Lags, positions: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(known.sum(), k) features of the known (series, date) pairs, made some dates at a time."""
    size = max(1, CELLS_AT_ONCE // max(1, len(known) * lags.reach))
    out = np.empty(0, dtype=np.float32)
    place = np.cumsum(known).reshape(known.shape) - 1
    for i in range(0, len(positions), size):
        some = slice(i, i + size)
        values = lags.features(positions[some])
        if not len(out):
            out = np.empty((int(known.sum()), values.shape[-1]), dtype=np.float32)
        out[place[:, some][known[:, some]]] = values[known[:, some]]
    return out
