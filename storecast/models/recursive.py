"""A recursive booster: LightGBM learns the next date from the last ones, and its forecasts are fed back.

It sees the last days' sales one by one, where a direct model of day 16 has none later than 16 days old; for
that, what it gets wrong goes on into the later days. What it learns is the change from the level of the last
weeks: learnt as they are, levels are drawn back day by day to where they used to be. Its errors differ from
those of the direct boosters (`storecast.models.booster`), with which its forecasts are averaged.

Direct and recursive forecasts of several steps: Ben Taieb et al., "A review and comparison of strategies for
multi-step ahead time series forecasting" (2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storecast.features import Lags
from storecast.features.lags import BASE, reach
from storecast.features.table import window_start
from storecast.models.base import FitContext
from storecast.models.booster import (
    FEWEST_ROWS,
    Report,
    TreesConfig,
    read_models,
    recency,
    side_by_side,
    splitting_column,
    texts_of,
    train,
)
from storecast.models.row_by_row import RowByRow
from storecast.newcomers import without_history
from storecast.panel import Floats, Panel

CELLS_AT_ONCE = 4_000_000
"""Values of the past, (series, dates, dates back), that each thread looks at at a time."""

FILES = "recursive"

Categories = Mapping[str, Sequence[str]]


class RecursiveConfig(TreesConfig):
    """Parameters of the recursive booster."""

    window_days: int = Field(default=576, gt=0, description="Days before the cutoff to learn from.")
    half_life_days: float = Field(default=10_000.0, gt=0, description="Age at which a row weighs half.")
    rounds: int = Field(default=160, ge=1, description="Trees.")
    learning_rate: float = Field(default=0.08, gt=0, le=1)
    min_rows: int = Field(default=20, ge=1, description="Rows in a leaf, at least.")
    split: bool = Field(
        default=True, description="A model for each value of the key that has the fewest (each family)."
    )
    most_rows: int = Field(
        default=1_500_000, ge=1, description="Rows of a model; of a larger panel some dates, at random."
    )


@dataclass(frozen=True, eq=False)
class Recursive:
    """A fitted recursive booster: LightGBM models by the value of `column`; where it is "", one under ""."""

    column: str
    models: Mapping[str, Any]
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
    ) -> Self:
        """Learn each date of the window from the dates before it.

        Args:
            config: of this booster.
            panel: the history.
            categories: the values of the static columns by code.
            context: of the fit.
            seed: of this booster, and of the choice of dates.
            report: called with the number of trees grown so far.
        """
        column = splitting_column(panel) if config.split else ""
        dates = panel.dates[: panel.n_history]
        positions = np.flatnonzero(dates > window_start(panel, config.window_days))
        positions = positions[positions > 0]
        groups = dict(_groups(panel, column, np.arange(panel.n_series)))
        most = max(1, config.most_rows // max(len(rows) for rows in groups.values()))
        if len(positions) > most:
            positions = np.sort(np.random.default_rng(seed).choice(positions, most, replace=False))
        recent = recency(config, panel, dates[positions].to_numpy())

        def fit(value: str, threads: int, report: Report) -> Any:
            some = panel.select(groups[value])
            target = np.log1p(np.maximum(some.y[:, positions], 0.0))
            known = ~np.isnan(target)
            if known.sum() < FEWEST_ROWS:
                return None
            lags = Lags(some, categories)
            values = _in_parts(lags, positions, some.n_series)[known]
            weight = np.broadcast_to(recent, target.shape)[known]
            change: Floats = target[known] - values[:, lags.names.index(BASE)].astype(np.float64)
            return train(config, values, change, weight, lags.names, categories, threads, seed, report)

        fitted = side_by_side(list(groups), fit, context.threads, report)
        models = {value: model for value, model in fitted.items() if model is not None}
        return cls(column, models, categories)

    def prepare(self, panel: Panel) -> Lags:
        """What `predict` needs of the panel's past, for being asked about several known futures."""
        return Lags(panel.last(reach(panel.frequency)), self.categories)

    def predict(
        self, panel: Panel, rows: NDArray[np.int64] | None = None, prepared: Lags | None = None
    ) -> Floats:
        """(n, H) log(1+y) ≥ 0 after the panel's cutoff; NaN for series without history, or whose value has no
        model.

        Args:
            panel: the history and the known future.
            rows: positions of the series to forecast; all if None.
            prepared: what `prepare` made of a panel with the same history.
        """
        rows = np.arange(panel.n_series) if rows is None else rows
        recent = panel.last(reach(panel.frequency))
        lags = prepared.asked(recent, rows) if prepared else Lags(recent.select(rows), self.categories)
        groups = [
            (self._by_row[v], those) for v, those in _groups(panel, self.column, rows) if v in self.models
        ]
        found = np.full((len(rows), panel.horizon), np.nan)
        for ahead in range(panel.horizon):
            at = recent.n_history + ahead
            values = lags.features(np.array([at]))[:, 0]
            base = values[:, lags.names.index(BASE)]
            for model, those in groups:
                told = base[those] + model.predict(values[those])
                found[those, ahead] = np.maximum(told, 0.0)
            lags.put(at, found[:, ahead])
        found[without_history(panel, rows=rows)] = np.nan
        return found

    @cached_property
    def _by_row(self) -> Mapping[str, RowByRow]:
        return {value: RowByRow(model) for value, model in self.models.items()}

    def texts(self) -> dict[str, str]:
        """The models as LightGBM's own text by file name."""
        return texts_of(self.models, FILES)

    def about(self) -> dict[str, Any]:
        """What `load` needs besides the texts."""
        categories = {name: list(values) for name, values in self.categories.items()}
        return {"column": self.column, "values": sorted(self.models), "categories": categories}

    @classmethod
    def load(cls, about: Mapping[str, Any], folder: Path) -> Self:
        """Read back what `texts` and `about` gave."""
        return cls(about["column"], read_models(folder, FILES, about["values"]), about["categories"])


def _groups(panel: Panel, column: str, rows: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each value of a static column with the places in `rows` of its series; with "" all of them."""
    if not column:
        yield "", np.arange(len(rows))
        return
    values = panel.static[column].to_numpy()[rows]
    for value in np.unique(values):
        yield str(value), np.flatnonzero(values == value)


def _in_parts(lags: Lags, positions: NDArray[np.int64], n: int) -> NDArray[np.float32]:
    """(n, len(positions), k) features, made some dates at a time."""
    size = max(1, CELLS_AT_ONCE // max(1, n * lags.reach))
    parts = [lags.features(positions[i : i + size]) for i in range(0, len(positions), size)]
    return np.concatenate(parts, axis=1)
