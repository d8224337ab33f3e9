"""Gradient boosting: LightGBM over the feature table, all series and all days ahead in one model.

The forecast is the mean of several boosters (`storecast.models.booster`) that differ in how far back they
look, in how they grow trees, in what they learn (the level, or its change from an offset that follows level
shifts and extrapolates promotions' lifts) and in whether each family has its own: their errors differ more
than those of one booster under several seeds. One more, small model learns how large the error is; with the
errors' shape by level it gives the quantiles.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from storecast.errors import ModelError
from storecast.features import (
    FeatureTable,
    Lags,
    Prepared,
    Sample,
    build,
    load_or_build,
    pairs_in,
    training_cutoffs,
)
from storecast.models.base import QUANTILES, Fallback, FitContext, FitReport, Forecast, ModelConfig
from storecast.models.booster import (
    FEWEST_ROWS,
    Booster,
    BoosterConfig,
    Report,
    read_text,
    recency,
    text_of,
    train,
    trees,
)
from storecast.models.cold import Cold, ColdConfig
from storecast.models.offset import KNOTS, fit_offset, offset, offset_names
from storecast.models.recursive import Recursive, RecursiveConfig
from storecast.newcomers import without_history
from storecast.panel import Floats, Panel

LEVEL_BINS = 12
SPREAD_ROWS = 150_000
SMALLEST_SPREAD = 0.01


class GbmConfig(ModelConfig):
    """Parameters of the gradient boosting."""

    boosters: tuple[BoosterConfig, ...] = Field(
        default=(BoosterConfig(),),
        min_length=1,
        description="Models that are averaged, each with its own seed.",
    )
    most_rows: int = Field(
        default=3_000_000,
        ge=1,
        description="Rows that a fit holds; of a larger panel some series at each cutoff, at random.",
    )
    spread_rounds: int = Field(default=60, ge=1, description="Trees of the model of the error's size.")
    recursive: RecursiveConfig | None = Field(
        default=None, description="A model more that is averaged: of one day ahead, its forecasts fed back."
    )
    cold: ColdConfig | None = Field(
        default=None,
        description="A booster for series without history, fitted where the panel has some; without it the "
        "others forecast these too.",
    )


@dataclass(eq=False)
class _Fitted:
    """What a fit leaves: LightGBM models as text, the features they know, and the errors' shape.

    `start` are the weights of the offset that the trees correct (`storecast.models.offset`).
    `edges` (B-1,) part the forecast level (log scale) into bins; `shape` (B, Q) are the quantiles of the
    error divided by its expected size in each. `cold` forecasts the series without history.
    """

    names: list[str]
    categories: dict[str, list[str]]
    start: Floats
    boosters: list[Booster]
    spread: Any
    edges: Floats
    shape: Floats
    recursive: Recursive | None = None
    cold: Cold | None = None

    @property
    def has_model(self) -> bool:
        """Whether trees forecast anything but series without history."""
        direct = any(booster.models for booster in self.boosters)
        return direct or bool(self.recursive and self.recursive.models)


class Gbm:
    """LightGBM, direct for each day ahead, trained on many cutoffs with recent ones weighing more."""

    scope: ClassVar[Literal["local", "global"]] = "global"
    Config: ClassVar[type[ModelConfig]] = GbmConfig

    def __init__(self, config: GbmConfig) -> None:
        self.config = config
        self._fitted: _Fitted | None = None
        self._prepared: Prepared | None = None
        self._lags: Lags | None = None

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Learn from the training cutoffs before the panel's; a booster with too few rows has no model, and
        where none has one the base alone forecasts."""
        cutoffs = list(self.feature_cutoffs(panel)) or [panel.cutoff]
        total = len(cutoffs) + sum(self._trees(panel)) + self.config.spread_rounds
        sample = Sample.of(panel, len(cutoffs), self.config.most_rows, context.seed)
        table = load_or_build(
            panel, cutoffs, context.features, lambda done, _: context.progress(done, total), sample
        )
        few = len(table.y) < FEWEST_ROWS
        self._fitted = _without_model(table) if few else self._learn(table, panel, context, total)
        context.progress(total, total)
        reason = f"{len(table.y)} rows to learn from, a model needs {FEWEST_ROWS} of its own"
        used = "the recent level of the same weekday"
        return FitReport(
            fallbacks=()
            if self._fitted.has_model
            else tuple(Fallback(str(i), reason, used) for i in panel.ids),
            info={
                "rows": len(table.y),
                "share of rows": round(sample.share, 4),
                "cutoffs": len(cutoffs),
                "features": len(table.names),
            },
        )

    def feature_cutoffs(self, panel: Panel) -> pd.DatetimeIndex:
        """The training cutoffs whose rows a fit on this panel reads: those of every booster."""
        found = [training_cutoffs(panel, b.step_days, b.window_days) for b in self.config.boosters]
        return pd.DatetimeIndex(np.unique(np.concatenate(found)))

    def forecast(self, panel: Panel) -> Forecast:
        """Forecast every day ahead directly; a series without history is forecast from its peers.

        Means over peers are those of the given panel: give all series, also to ask for one.
        """
        fitted = self._need()
        pairs = pairs_in(fitted.names, panel.static.columns)
        table = build(panel, [panel.cutoff], categories=fitted.categories, pairs=pairs)
        return self._told(panel, np.arange(panel.n_series), table)

    def forecast_rows(self, panel: Panel, rows: NDArray[np.int64]) -> Forecast:
        """The forecasts of some series (positions). The panel's past is kept prepared, so that asking again
        with another known future takes a fraction of the time."""
        fitted = self._need()
        if self._prepared is None or not self._prepared.fits(panel):
            pairs = pairs_in(fitted.names, panel.static.columns)
            self._prepared = Prepared(panel, fitted.categories, pairs)
            self._lags = fitted.recursive.prepare(panel) if fitted.recursive else None
        table = self._prepared.rows(panel, rows)
        return self._told(panel, rows, table, self._lags)

    def _told(
        self, panel: Panel, rows: NDArray[np.int64], table: FeatureTable, lags: Lags | None = None
    ) -> Forecast:
        fitted = self._need()
        if table.names != fitted.names:
            odd = sorted(set(table.names) ^ set(fitted.names))
            raise ModelError(
                "the panel does not have the features that the model was fitted with",
                expected=f"{len(fitted.names)} features",
                found=f"{len(table.names)}, different: {', '.join(odd[:5])}",
                cure="forecast the data set that the model was fitted on, or fit it again",
            )
        fed_back = fitted.recursive.predict(panel, rows, lags).ravel() if fitted.recursive else None
        mean = _mean(fitted.boosters, table, offset(table, fitted.start), fed_back)
        spread = _spread(fitted.spread, table.values)
        bins = np.searchsorted(fitted.edges, mean)
        logs = np.maximum(mean[:, None] + fitted.shape[bins] * spread[:, None], 0.0)
        new = np.repeat(without_history(panel, rows=rows), panel.horizon)
        if fitted.cold and new.any():
            mean[new], logs[new] = fitted.cold.predict(table, new)
        size = (len(rows), panel.horizon)
        return Forecast(
            ids=panel.ids[rows],
            dates=panel.future_dates,
            point=np.expm1(mean).reshape(size),
            quantiles=np.expm1(np.maximum.accumulate(logs, axis=1)).reshape(*size, len(QUANTILES)),
        )

    def save(self, folder: Path) -> None:
        """Write `gbm.json` and the boosters as LightGBM's own text."""
        fitted = self._need()
        texts: dict[str, str] = {}
        for i, booster in enumerate(fitted.boosters):
            texts |= booster.texts(f"booster_{i}")
        if fitted.recursive:
            texts |= fitted.recursive.texts()
        if fitted.spread is not None:
            texts["spread.txt"] = text_of(fitted.spread)
        for name, text in texts.items():
            (folder / name).write_text(text)
        if fitted.cold:
            fitted.cold.save(folder)
        content = {
            "config": self.config.model_dump(),
            "names": fitted.names,
            "categories": fitted.categories,
            "start": fitted.start.tolist(),
            "boosters": [booster.about() for booster in fitted.boosters],
            "recursive": fitted.recursive.about() if fitted.recursive else None,
            "edges": fitted.edges.tolist(),
            "shape": fitted.shape.tolist(),
        }
        (folder / "gbm.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        content = json.loads((folder / "gbm.json").read_text())
        model = cls(GbmConfig(**content["config"]))
        model._fitted = _Fitted(
            names=content["names"],
            categories=content["categories"],
            start=np.array(content["start"]),
            boosters=[
                Booster.load(about, folder, f"booster_{i}") for i, about in enumerate(content["boosters"])
            ],
            spread=read_text(folder / "spread.txt") if content["boosters"] else None,
            edges=np.array(content["edges"]),
            shape=np.array(content["shape"]),
            recursive=Recursive.load(about, folder) if (about := content["recursive"]) else None,
            cold=Cold.load(folder),
        )
        return model

    def _learn(self, table: FeatureTable, panel: Panel, context: FitContext, total: int) -> _Fitted:
        weights = fit_offset(table)
        base = offset(table, weights)
        grown = self._trees(panel)
        done = total - sum(grown) - self.config.spread_rounds
        boosters = []
        for i, config in enumerate(self.config.boosters):
            report = _reporter(context, done + sum(grown[:i]), total)
            boosters.append(Booster.fit(config, table, base, panel, context, context.seed + i, report))
        recursive = None
        if self.config.recursive:
            report = _reporter(context, done + sum(grown[:-1]), total)
            seed = context.seed + len(boosters)
            recursive = Recursive.fit(self.config.recursive, panel, table.categories, context, seed, report)
        some = table.select(slice(None, None, max(1, len(table.y) // SPREAD_ROWS)))
        mean = _mean(boosters, some, offset(some, weights))
        error = np.log1p(some.y) - mean
        first = self.config.boosters[0]
        config = first.model_copy(update={"rounds": self.config.spread_rounds, "extra_trees": False})
        weight = recency(first, panel, some.cutoff)
        report = _reporter(context, total - self.config.spread_rounds, total)
        told = (some.values, np.abs(error), weight, table.names, table.categories)
        spread = train(config, *told, context.threads, context.seed, report)
        edges = np.unique(np.quantile(mean, np.linspace(0, 1, LEVEL_BINS + 1)[1:-1]))
        scaled = error / _spread(spread, some.values)
        shape = _shape(scaled, np.searchsorted(edges, mean), len(edges) + 1)
        asked = self.config.cold if without_history(panel).any() else None
        cold = Cold.fit(asked, panel, table, context) if asked else None
        return _Fitted(
            table.names, table.categories, weights, boosters, spread, edges, shape, recursive, cold
        )

    def _trees(self, panel: Panel) -> list[int]:
        """How many trees each booster has, in the order in which they are grown."""
        last = [self.config.recursive] if self.config.recursive else []
        return [trees(config, panel) for config in (*self.config.boosters, *last)]

    def _need(self) -> _Fitted:
        if self._fitted is None:
            raise ModelError("the model is not fitted", cure="call fit, or load a saved model")
        return self._fitted


def _without_model(table: FeatureTable) -> _Fitted:
    """No trees: the base forecasts, with a wide normal error."""
    from scipy.special import ndtri

    shape = ndtri(np.array(QUANTILES))[None, :]
    start = np.zeros(len(offset_names(table.names)) * len(KNOTS))
    return _Fitted(table.names, table.categories, start, [], None, np.empty(0), shape)


def _reporter(context: FitContext, done: int, total: int) -> Report:
    """Reports trees on top of what was done before them."""
    return lambda grown: context.progress(done + grown, total)


def _mean(
    boosters: list[Booster], table: FeatureTable, base: Floats, fed_back: Floats | None = None
) -> Floats:
    """(rows,) the mean of log(1+y) over the boosters that know the row, at least 0; else the offset."""
    told = [booster.predict(table, base) for booster in boosters]
    if fed_back is not None:
        told.append(fed_back)
    found = np.array(told).reshape(-1, len(base))
    known = ~np.isnan(found)
    count = known.sum(axis=0)
    total = np.where(known, found, 0.0).sum(axis=0)
    return np.maximum(np.where(count > 0, total / np.maximum(count, 1), base), 0.0)


def _spread(booster: Any, values: NDArray[np.float32]) -> Floats:
    """(rows,) the expected size of the error on the log scale."""
    if booster is None:
        return np.full(len(values), 0.5)
    spread: Floats = np.maximum(booster.predict(values, num_threads=1), SMALLEST_SPREAD)
    return spread


def _shape(scaled: Floats, bins: NDArray[np.intp], n_bins: int) -> Floats:
    """(n_bins, Q) quantiles of the scaled errors in each bin, of all where a bin is empty."""
    everywhere = np.quantile(scaled, QUANTILES)
    parts = [scaled[bins == b] for b in range(n_bins)]
    return np.array([np.quantile(part, QUANTILES) if len(part) else everywhere for part in parts])
