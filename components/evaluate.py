"""Stage: from the folds' forecasts to scores, blend weights and calibrated intervals.

    python -m components.evaluate --panel URI --fit URI --fit URI ... --training quick

Weights and calibration that score a fold come from earlier folds only; those for the release from all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import typer

from components.aggregates import evaluate_levels, own_model, own_module
from components.stage import PanelUri, Training, Workspace, main, open_panel, open_store
from storecast.backtest import cv_rows, fold_cutoffs
from storecast.blend import BLEND, NEW, fit_weights
from storecast.conformal import calibrate_folds, calibrated_blend
from storecast.metrics import naive_scale, score
from storecast.models.catalogue import load_class
from storecast.newcomers import marked, without_history
from storecast.panel import Panel
from storecast.segments import VOLUME, attach, segment_table
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.training_config import NAIVE, TrainingConfig, load_training_config


def run(
    panel: PanelUri,
    fit: Annotated[list[str], typer.Option(help="URI of a fold's fit; once per model and fold.")],
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Score every model and the blend on the folds; choose weights and calibrate intervals.

    Args:
        panel: URI of the panel.
        fit: URIs of the fits of all models at all folds.
        training: training config, by name or file.
        workspace: where data sets lie.

    Returns:
        A data set with cv.parquet (every forecast beside its actual), scores_*.parquet, scores.json,
        weights.json, calibration.json, segments.parquet, and of the sums of series by store, family, ...
        aggregates.parquet (their backtest), levels.parquet (its errors), aggregates_factors.parquet and
        reconciliation.json.
    """
    store, config = open_store(workspace), load_training_config(training)
    fits = [store.open(uri) for uri in fit]
    source, own = store.open(panel), own_model(config)

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        whole = open_panel(store, panel)
        cv = _cv_table(store, whole, fits)
        return _evaluate(whole, cv, _peers(fits), config, folder)

    return store.materialise(
        "evaluate",
        inputs={"panel": source.hash, **{_label(fit): fit.hash for fit in fits}},
        config={"folds": config.folds, "blend_segment": config.blend_segment, "aggregates": own},
        code=code_version("components.evaluate", *own_module(own)),
        build=build,
    )


def _label(fit: Dataset) -> str:
    return f"{_model(fit)}@{fit.manifest['config']['cutoff']}"


def _model(fit: Dataset) -> str:
    return str(fit.manifest["config"]["model"]["name"])


def _cv_table(store: DatasetStore, panel: Panel, fits: list[Dataset]) -> pd.DataFrame:
    """Every fit's forecasts beside the actuals; series and models as categoricals, a number a row each."""
    models = pd.CategoricalDtype(sorted({_model(fit) for fit in fits} | {BLEND}))
    series = pd.CategoricalDtype(panel.ids.tolist())
    parts = []
    for fit in fits:
        forecast = parquet.read_frame(store.path(fit) / "forecast.parquet")
        cutoff = pd.Timestamp(fit.manifest["config"]["cutoff"])
        rows = cv_rows(panel, _model(fit), cutoff, forecast)
        parts.append(rows.astype({"unique_id": series, "model": models}))
    return pd.concat(parts, ignore_index=True)


def _write_table(cv: pd.DataFrame, path: Path) -> None:
    """Write the cv table, a row group for each model and fold, with the names spelt out again."""
    plain = {"unique_id": str, "model": str}
    blocks = cv.groupby(["model", "cutoff"], observed=True, sort=False)
    parquet.write_groups(
        (pa.Table.from_pandas(rows.astype(plain), preserve_index=False) for _, rows in blocks), path
    )


def _peers(fits: list[Dataset]) -> list[str]:
    """The models that see all series at once, and so can forecast one without history from its peers."""
    models = {_model(fit): fit.manifest["config"]["model"]["class"] for fit in fits}
    return [name for name, path in models.items() if load_class(path).scope == "global"]


def _evaluate(
    panel: Panel, cv: pd.DataFrame, peers: list[str], config: TrainingConfig, folder: Path
) -> Mapping[str, Any]:
    first = fold_cutoffs(panel, config.folds)[0]
    segments = segment_table(panel, first)
    by = config.blend_segment
    cv = marked(attach(cv, segments, [by]), panel, by, NEW)
    old = ~without_history(panel)  # a new series is no kin of those that never sell
    volumes = {str(k): str(v) for k, v in segments.loc[old, VOLUME].items()}
    weights = fit_weights(cv, column=by, peers=peers)
    blend, calibration = calibrated_blend(cv, weights, volumes, NAIVE)
    blend = blend.astype({"model": cv["model"].dtype})
    cv = attach(pd.concat([calibrate_folds(cv, volumes), blend], ignore_index=True), segments)
    del blend
    scale = naive_scale(panel.at(first, 0))
    columns = [[], ["cutoff"], ["h"], *([name] for name in segments.columns)]
    tables = {
        "_".join(extra) or "overall": score(cv, ["model", *extra], scale).astype({"model": str})
        for extra in columns
    }
    for name, table in tables.items():
        parquet.write_frame(table, folder / f"scores_{name}.parquet")
    evaluate_levels(panel, cv, config, folder)
    _write_table(cv, folder / "cv.parquet")
    parquet.write_frame(segments.reset_index(), folder / "segments.parquet")
    _write_json(folder / "weights.json", weights.to_dict())
    _write_json(folder / "calibration.json", calibration.to_dict())
    by_fold = tables["cutoff"].assign(cutoff=tables["cutoff"]["cutoff"].dt.strftime("%Y-%m-%d"))
    _write_json(folder / "scores.json", by_fold.to_dict("records"))
    last = by_fold[by_fold["cutoff"] == by_fold["cutoff"].max()].set_index("model")["rmsle"]
    return {"rows": len(cv), "rmsle_last_fold": {k: round(float(v), 5) for k, v in last.items()}}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(run)
