"""Gradient boosting: LightGBM over the feature table, all series and all days ahead in one model.

It learns log(1+y) as the difference to an offset: the recent level of the same weekday (the feature `base`),
moved by what promotions have done lately (`storecast.models.offset`). So trees need not learn each series'
level, a level shift moves the forecast at once, and lifts larger than any seen are forecast, too. The
forecast is the mean of several boosters that differ in how far back they look and in how they grow trees:
their errors differ more than those of one booster under several seeds. One more, small model learns how large
the error is; with the errors' shape by level it gives the quantiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from storecast.errors import ModelError
from storecast.features import FeatureTable, build, load_or_build, pairs_in, training_cutoffs
from storecast.features.table import STEP_DAYS, WINDOW_DAYS
from storecast.models.base import QUANTILES, Fallback, FitContext, FitReport, Forecast, ModelConfig
from storecast.models.offset import KNOTS, fit_offset, offset, offset_names
from storecast.panel import Floats, Panel

FEWEST_ROWS = 200
LEVEL_BINS = 12
SPREAD_ROWS = 150_000
SMALLEST_SPREAD = 0.01


class BoosterConfig(ModelConfig):
    """Parameters of one booster."""

    window_days: int = Field(default=WINDOW_DAYS, gt=0, description="Days of training cutoffs.")
    step_days: int = Field(default=2 * STEP_DAYS, gt=0, description="Days between training cutoffs.")
    half_life_days: float = Field(default=200.0, gt=0, description="Age at which a row weighs half.")
    rounds: int = Field(default=400, ge=1, description="Trees.")
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    leaves: int = Field(default=63, ge=2, description="Leaves of a tree.")
    min_rows: int = Field(default=100, ge=1, description="Rows in a leaf, at least.")
    feature_fraction: float = Field(default=0.5, gt=0, le=1, description="Features each tree may use.")
    row_fraction: float = Field(default=0.6, gt=0, le=1, description="Rows each tree sees.")
    extra_trees: bool = Field(default=False, description="Try one random threshold per feature and node.")


class GbmConfig(ModelConfig):
    """Parameters of the gradient boosting."""

    boosters: tuple[BoosterConfig, ...] = Field(
        default=(BoosterConfig(),),
        min_length=1,
        description="Models that are averaged, each with its own seed.",
    )
    spread_rounds: int = Field(default=60, ge=1, description="Trees of the model of the error's size.")


@dataclass(eq=False)
class _Fitted:
    """What a fit leaves: LightGBM models as text, the features they know, and the errors' shape.

    `start` are the weights of the offset that the trees correct (`storecast.models.offset`).
    `edges` (B-1,) part the forecast level (log scale) into bins; `shape` (B, Q) are the quantiles of the
    error divided by its expected size in each.
    """

    names: list[str]
    categories: dict[str, list[str]]
    start: Floats
    boosters: list[Any]
    spread: Any
    edges: Floats
    shape: Floats


class Gbm:
    """LightGBM, direct for each day ahead, trained on many cutoffs with recent ones weighing more."""

    scope: ClassVar[Literal["local", "global"]] = "global"
    Config: ClassVar[type[ModelConfig]] = GbmConfig

    def __init__(self, config: GbmConfig) -> None:
        self.config = config
        self._fitted: _Fitted | None = None

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Learn from the training cutoffs before the panel's; with too few rows the base alone forecasts."""
        cutoffs = list(self.feature_cutoffs(panel)) or [panel.cutoff]
        total = len(cutoffs) + sum(b.rounds for b in self.config.boosters) + self.config.spread_rounds
        table = load_or_build(panel, cutoffs, context.features, lambda done, _: context.progress(done, total))
        few = len(table.y) < FEWEST_ROWS
        self._fitted = _without_model(table) if few else self._learn(table, panel, context, total)
        context.progress(total, total)
        reason = f"only {len(table.y)} rows to learn from, {FEWEST_ROWS} are needed"
        used = "the recent level of the same weekday"
        return FitReport(
            fallbacks=tuple(Fallback(str(i), reason, used) for i in panel.ids) if few else (),
            info={"rows": len(table.y), "cutoffs": len(cutoffs), "features": len(table.names)},
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
        if table.names != fitted.names:
            odd = sorted(set(table.names) ^ set(fitted.names))
            raise ModelError(
                "the panel does not have the features that the model was fitted with",
                expected=f"{len(fitted.names)} features",
                found=f"{len(table.names)}, different: {', '.join(odd[:5])}",
                cure="forecast the data set that the model was fitted on, or fit it again",
            )
        mean = _mean(fitted.boosters, table.values, offset(table, fitted.start))
        spread = _spread(fitted.spread, table.values)
        bins = np.searchsorted(fitted.edges, mean)
        logs = np.maximum(mean[:, None] + fitted.shape[bins] * spread[:, None], 0.0)
        size = (panel.n_series, panel.horizon)
        return Forecast(
            ids=panel.ids,
            dates=panel.future_dates,
            point=np.expm1(mean).reshape(size),
            quantiles=np.expm1(np.maximum.accumulate(logs, axis=1)).reshape(*size, len(QUANTILES)),
        )

    def save(self, folder: Path) -> None:
        """Write `gbm.json` and the boosters as LightGBM's own text."""
        fitted = self._need()
        texts = {f"booster_{i}.txt": b for i, b in enumerate(fitted.boosters)}
        if fitted.spread is not None:
            texts["spread.txt"] = fitted.spread
        for name, booster in texts.items():
            text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", booster.model_to_string())
            (folder / name).write_text(text)
        content = {
            "config": self.config.model_dump(),
            "names": fitted.names,
            "categories": fitted.categories,
            "start": fitted.start.tolist(),
            "boosters": len(fitted.boosters),
            "edges": fitted.edges.tolist(),
            "shape": fitted.shape.tolist(),
        }
        (folder / "gbm.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        import lightgbm as lgb

        content = json.loads((folder / "gbm.json").read_text())
        model = cls(GbmConfig(**content["config"]))

        def booster(name: str) -> Any:
            return lgb.Booster(model_str=(folder / name).read_text())

        model._fitted = _Fitted(
            names=content["names"],
            categories=content["categories"],
            start=np.array(content["start"]),
            boosters=[booster(f"booster_{i}.txt") for i in range(content["boosters"])],
            spread=booster("spread.txt") if content["boosters"] else None,
            edges=np.array(content["edges"]),
            shape=np.array(content["shape"]),
        )
        return model

    def _learn(self, table: FeatureTable, panel: Panel, context: FitContext, total: int) -> _Fitted:
        weights = fit_offset(table)
        base = offset(table, weights)
        target = np.log1p(table.y) - base
        age = (panel.cutoff.to_datetime64() - table.cutoff) / np.timedelta64(1, "D")
        done = total - sum(b.rounds for b in self.config.boosters) - self.config.spread_rounds
        boosters = []
        for i, config in enumerate(self.config.boosters):
            rows = np.isin(table.cutoff, training_cutoffs(panel, config.step_days, config.window_days))
            weight = 0.5 ** (age[rows] / config.half_life_days)
            data = _dataset(_some(table.values, rows), target[rows], weight, table.names)
            booster = _train(config, data, context.seed + i, context, _reporter(context, done, total))
            boosters.append(booster)
            done += config.rounds
        some = slice(None, None, max(1, len(target) // SPREAD_ROWS))
        values, log_y = np.ascontiguousarray(table.values[some]), np.log1p(table.y[some])
        mean = _mean(boosters, values, base[some])
        error = log_y - mean
        first = self.config.boosters[0]
        data = _dataset(values, np.abs(error), 0.5 ** (age[some] / first.half_life_days), table.names)
        config = first.model_copy(update={"rounds": self.config.spread_rounds, "extra_trees": False})
        spread = _train(config, data, context.seed, context, _reporter(context, done, total))
        edges = np.unique(np.quantile(mean, np.linspace(0, 1, LEVEL_BINS + 1)[1:-1]))
        shape = _shape(error / _spread(spread, values), np.searchsorted(edges, mean), len(edges) + 1)
        return _Fitted(table.names, table.categories, weights, boosters, spread, edges, shape)

    def _need(self) -> _Fitted:
        if self._fitted is None:
            raise ModelError("the model is not fitted", cure="call fit, or load a saved model")
        return self._fitted


def _train(
    config: BoosterConfig, data: Any, seed: int, context: FitContext, report: Callable[[Any], None]
) -> Any:
    import lightgbm as lgb

    params = {
        "objective": "l2",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_rows,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.row_fraction,
        "bagging_freq": 1,
        "extra_trees": config.extra_trees,
        "lambda_l2": 1.0,
        "cat_smooth": 50.0,
        "seed": seed,
        "num_threads": context.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **_BINNING,
    }
    return lgb.train(params, data, config.rounds, callbacks=[report])


def _some(values: NDArray[np.float32], rows: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows; without a copy where they are all."""
    return values if rows.all() else values[rows]


_BINNING = {"max_bin": 127, "feature_pre_filter": False}


def _without_model(table: FeatureTable) -> _Fitted:
    """No trees: the base forecasts, with a wide normal error."""
    from scipy.special import ndtri

    shape = ndtri(np.array(QUANTILES))[None, :]
    start = np.zeros(len(offset_names(table.names)) * len(KNOTS))
    return _Fitted(table.names, table.categories, start, [], None, np.empty(0), shape)


def _dataset(values: NDArray[np.float32], target: Floats, weight: Floats, names: list[str]) -> Any:
    import lightgbm as lgb

    codes = [name for name in names if name.startswith("code_")]
    params = {**_BINNING, "verbose": -1}
    return lgb.Dataset(
        values, target, weight=weight, feature_name=names, categorical_feature=codes, params=params
    ).construct()


def _reporter(context: FitContext, done: int, total: int) -> Callable[[Any], None]:
    """A LightGBM callback that reports each round."""
    return lambda env: context.progress(done + env.iteration + 1, total)


def _mean(boosters: list[Any], values: NDArray[np.float32], base: Floats) -> Floats:
    """(rows,) the mean of log(1+y), at least 0."""
    lift = np.mean([b.predict(values, num_threads=1) for b in boosters], axis=0) if boosters else 0.0
    mean: Floats = np.maximum(base + lift, 0.0)
    return mean


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
