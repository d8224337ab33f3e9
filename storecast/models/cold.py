"""The boosting's forecast of series without history: a booster that has learnt from series played as new.

The other boosters know every series' past, so what they do with a series that has none is chance. This one
learns from the same panel with some of it hidden: series at random, all of a store, all of a family, at
several cutoffs, so that its features are those that a new series has: the calendar, promotions, and what the
peers sell. It knows no key (a new store's number says nothing), only what describes it.

Its quantiles come from series that it has not learnt from: in turn a part of them is left out and forecast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from storecast.features import FeatureTable, pairs_in, training_cutoffs
from storecast.features.table import each_table, stacked
from storecast.models.base import QUANTILES, FitContext, ModelConfig
from storecast.models.booster import FEWEST_ROWS, BoosterConfig, read_text, recency, text_of, train
from storecast.newcomers import hidden, key_columns
from storecast.panel import Floats, Panel

LEVEL_BINS = 6
FOLDS = 2
HISTORY_WEEKS = 60
"""Weeks of history that a cutoff's features look back."""


class ColdConfig(ModelConfig):
    """How series without history are learnt about."""

    parts: int = Field(
        default=4,
        ge=2,
        description="The series, and each key's values, are hidden in so many parts, one after the other.",
    )
    cutoffs: int = Field(default=3, ge=1, description="Cutoffs at which each part is hidden.")
    booster: BoosterConfig = Field(
        default=BoosterConfig(
            window_days=440, step_days=20, rounds=150, learning_rate=0.08, leaves=31, min_rows=200
        ),
        description="The booster that learns from them; it learns the change from what peers let expect.",
    )


@dataclass(frozen=True, eq=False)
class Cold:
    """What was learnt about series without history.

    Attributes:
        names: the features that it reads.
        model: LightGBM model of log(1+y) less what peers let expect.
        edges: (B-1,) part the forecast level (log scale) into bins.
        shape: (B, Q) quantiles of the error on the log scale in each.
    """

    names: list[str]
    model: Any
    edges: Floats
    shape: Floats

    @classmethod
    def fit(
        cls,
        config: ColdConfig,
        panel: Panel,
        known: FeatureTable,
        context: FitContext,
    ) -> Self | None:
        """Learn from the panel's series played as new; None where they are too few to learn from.

        Args:
            config: how.
            panel: the panel.
            known: the feature table of the other boosters, whose categories and columns are kept to.
            context: of the fit.
        """
        tables = _played(config, panel, known, context.seed)
        if sum(len(table.y) for table in tables) < FEWEST_ROWS:
            return None
        table = stacked(tables, sum(len(table.y) for table in tables))
        names = _describing(table.names, panel)
        values, base = _columns(table, names), table.column("base").astype(np.float64)
        weight = recency(config.booster, panel, table.cutoff)
        target = np.log1p(table.y.astype(np.float64)) - base

        def learnt(rows: NDArray[np.bool_]) -> Any:
            some = values[rows], target[rows], weight[rows]
            return train(
                config.booster, *some, names, table.categories, context.threads, context.seed, _quiet
            )

        unseen, folds = np.zeros(len(target)), _folds(table.series)
        if folds.min() == folds.max():
            return None
        for part in range(FOLDS):
            out = folds == part
            unseen[out] = learnt(~out).predict(values[out], num_threads=1)
        level = np.maximum(base + unseen, 0.0)
        edges = np.unique(np.quantile(level, np.linspace(0, 1, LEVEL_BINS + 1)[1:-1]))
        bins, error = np.searchsorted(edges, level), target + base - level
        shape = np.array([_quantiles(error[bins == b], error) for b in range(len(edges) + 1)])
        return cls(names, learnt(np.ones(len(target), dtype=bool)), edges, shape)

    def predict(self, table: FeatureTable, rows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """(r,) and (r, Q): mean and quantiles of log(1+y) of some rows of a table, ≥ 0."""
        found = self.model.predict(_columns(table, self.names)[rows], num_threads=1)
        mean = np.maximum(table.column("base")[rows] + found, 0.0)
        logs = mean[:, None] + self.shape[np.searchsorted(self.edges, mean)]
        return mean, np.maximum(logs, 0.0)

    def save(self, folder: Path) -> None:
        """Write cold.json and the booster as LightGBM's own text."""
        (folder / "cold.txt").write_text(text_of(self.model))
        content = {"names": self.names, "edges": self.edges.tolist(), "shape": self.shape.tolist()}
        (folder / "cold.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read back what `save` wrote; None where there is nothing."""
        if not (folder / "cold.json").exists():
            return None
        content = json.loads((folder / "cold.json").read_text())
        model = read_text(folder / "cold.txt")
        return cls(content["names"], model, np.array(content["edges"]), np.array(content["shape"]))


def _played(config: ColdConfig, panel: Panel, known: FeatureTable, seed: int) -> list[FeatureTable]:
    """Rows of series with a past, as if they had none: a new series' features, and what it then sold."""
    week = panel.frequency.week
    recent = panel.last((config.booster.window_days // 7 + HISTORY_WEEKS) * week)
    every = training_cutoffs(recent, config.booster.step_days, config.booster.window_days)[::-1]
    pairs = pairs_in(known.names, panel.static.columns)
    masks = list(_parts(recent, config.parts, seed)) if len(every) else []
    tables: list[FeatureTable] = []
    for number, rows in enumerate(masks):
        places = sorted({(number + k * len(masks)) % len(every) for k in range(config.cutoffs)})
        new = hidden(recent, rows)
        played = each_table(new, every[places], categories=known.categories, pairs=pairs)
        tables.extend(_with_sales(table, rows, recent) for table in played)
    return tables


def _with_sales(table: FeatureTable, rows: NDArray[np.bool_], panel: Panel) -> FeatureTable:
    """The rows of these series (n,), with what the panel knows that they sold."""
    y = panel.y[table.series, panel.dates.get_indexer(pd.DatetimeIndex(table.ds))].astype(np.float32)
    return replace(table, y=y).select(rows[table.series] & np.isfinite(y))


def _parts(panel: Panel, parts: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """(n,) masks that hide each series once for itself, and once with all that share a key's value."""
    rng = np.random.default_rng(seed)
    groups = [np.arange(panel.n_series)]
    groups += [pd.factorize(panel.static[name], sort=True)[0] for name in key_columns(panel.static)]
    for codes in groups:
        size = int(codes.max(initial=-1)) + 1
        if size > 1:
            part = rng.permutation(size) % min(parts, size)
            yield from (part[codes] == number for number in range(min(parts, size)))


def _folds(series: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """(rows,) the fold that each row's series is left out in, by its position; where all positions are even,
    or all odd, by its number among them."""
    folds = series % FOLDS
    return folds if folds.min() < folds.max() else np.unique(series, return_inverse=True)[1] % FOLDS


def _describing(names: Sequence[str], panel: Panel) -> list[str]:
    """The features but the codes of the keys: a new store's number is one that no tree has seen."""
    keys = {f"code_{name}" for name in key_columns(panel.static)}
    return [name for name in names if name not in keys]


def _columns(table: FeatureTable, names: Sequence[str]) -> NDArray[np.float32]:
    """(rows, k) the features of these names."""
    return table.values[:, [table.names.index(name) for name in names]]


def _quantiles(error: Floats, everywhere: Floats) -> Floats:
    """(Q,) quantiles of the errors in a bin; of all where it is empty."""
    return np.asarray(np.quantile(error if len(error) else everywhere, QUANTILES))


def _quiet(grown: int) -> None:
    """Trees that nobody counts."""
