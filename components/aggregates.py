"""Forecasts of sums by store, family, ...: not a stage, but what evaluate, forecast and refresh share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from storecast.aggregates import (
    Fold,
    Reconciler,
    backtest_tables,
    interval_factors,
    level_scores,
)
from storecast.blend import BLEND
from storecast.coherence import Coherence, factor_table, own_forecasts, series_forecasts
from storecast.hierarchy import Hierarchy, aggregated
from storecast.models.base import FitContext, Forecaster
from storecast.models.catalogue import load_class, load_spec
from storecast.panel import Panel
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.training_config import TrainingConfig

ABOUT = "reconciliation.json"
FILE = "aggregates.parquet"
FACTORS = "aggregates_factors.parquet"
SCORES = "levels.parquet"
FOLDER = "aggregates"
"""Of a bundle: what forecasts its sums (`storecast.coherence.Coherence`)."""


def evaluate_levels(panel: Panel, cv: pd.DataFrame, config: TrainingConfig, folder: Path) -> None:
    """Backtest the sums and write what came of it: the forecasts, each level's errors, how to reconcile.

    Args:
        panel: the panel.
        cv: the cv table with the blend's rows, its intervals calibrated.
        config: names the sums' own model.
        folder: of the evaluation.
    """
    hierarchy = Hierarchy.of(panel.static)
    sums = aggregated(panel, hierarchy)
    about = own_model(config)
    rows = cv[cv["model"] == BLEND]
    folds = []
    for cutoff in sorted(rows["cutoff"].unique()):
        seen = sums.at(cutoff, panel.horizon)
        series = series_forecasts(panel.ids, seen.future_dates, rows[rows["cutoff"] == cutoff])
        own = own_forecasts(_fitted(about, seen), seen, hierarchy)
        actual = panel.actuals(cutoff, panel.horizon)
        folds.append(Fold(seen.future_dates, *series, *own, cutoff=cutoff, actual=actual))
    tables = backtest_tables(hierarchy, folds)
    parquet.write_frame(pd.concat(tables), folder / FILE, "zstd")
    parquet.write_frame(level_scores(tables), folder / SCORES)
    parquet.write_frame(factor_table(hierarchy, interval_factors(hierarchy, tables)), folder / FACTORS)
    content = {"own": about, "reconciler": Reconciler.fit(hierarchy, folds).to_dict()}
    (folder / ABOUT).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def coherence_of(evaluation: Path, panel: Panel) -> Coherence:
    """What forecasts a panel's sums, as an evaluation says; the sums' own model is fitted to them."""
    about = json.loads((evaluation / ABOUT).read_text())
    sums = aggregated(panel, Hierarchy.of(panel.static))
    reconciler = Reconciler.from_dict(about["reconciler"])
    return Coherence(_fitted(about["own"], sums), reconciler, parquet.read_frame(evaluation / FACTORS))


def write_forecasts(folder: Path, panel: Panel, forecast: pd.DataFrame, coherence: Coherence) -> pd.DataFrame:
    """Write the sums' forecasts as aggregates.parquet; the series' forecasts with the column `mean`."""
    series, sums = coherence.forecast(panel, forecast)
    parquet.write_frame(sums, folder / FILE, "zstd")
    return series


def carried_on(origin: Path, folder: Path, panel: Panel, forecast: pd.DataFrame) -> pd.DataFrame:
    """As `write_forecasts`, with what the bundle `origin` has for sums; the one in `folder` gets it, too."""
    coherence = Coherence.load(origin / FOLDER)
    coherence.save(folder / "bundle" / FOLDER)
    return write_forecasts(folder, panel, forecast, coherence)


def own_model(config: TrainingConfig) -> dict[str, Any]:
    """Class, parameters and seed of the model that forecasts sums as series of their own; {} for none."""
    if not config.aggregates:
        return {}
    spec = load_spec(config.aggregates)
    params = spec.config(config.profile).model_dump(mode="json")
    return {"class": spec.class_path, "params": params, "seed": config.seed}


def own_module(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The module of the sums' own model, for a stage's code version; none where there is no such model."""
    return (str(about["class"]).split(":")[0],) if about else ()


def _fitted(about: Mapping[str, Any], sums: Panel) -> Forecaster | None:
    if not about:
        return None
    cls = load_class(about["class"])
    model = cls(cls.Config(**about["params"]))
    model.fit(sums, FitContext(seed=int(about["seed"]), threads=load_settings().cores))
    return model
