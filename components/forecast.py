"""Stage: the forecast to release, and the bundle that made it.

    python -m components.forecast --panel URI --evaluation URI --decision URI --fit URI ...

A promoted challenger becomes the bundle: the fits at the panel's cutoff, blended and calibrated as the
evaluation says. Else the champion's bundle forecasts the panel anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components.aggregates import ABOUT as RECONCILIATION
from components.aggregates import FOLDER, carried_on, coherence_of, own_module, write_forecasts
from components.stage import (
    DecisionUri,
    EvaluationUri,
    PanelUri,
    Workspace,
    main,
    open_panel,
    open_store,
    releases_of,
)
from components.train import load_fit
from storecast.backtest import cv_rows
from storecast.blend import NEW, BlendWeights, blend_rows
from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.errors import ReleaseError
from storecast.models.blend import Blend
from storecast.newcomers import marked
from storecast.panel import Panel
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import local_copy


def run(
    panel: PanelUri,
    evaluation: EvaluationUri,
    decision: DecisionUri,
    fit: Annotated[
        list[str], typer.Option(help="URI of a model's fit at the panel's cutoff; once per model.")
    ],
    champion: Annotated[str, typer.Option(help="URI of a release; default: the gate's.")] = "",
    workspace: Workspace = "",
) -> Dataset:
    """Forecast the panel's future by the bundle that the gate chose.

    Args:
        panel: URI of the panel.
        evaluation: URI of the evaluation: weights and calibration.
        decision: URI of the gate's decision.
        fit: URIs of the models' fits at the panel's cutoff.
        champion: URI of the release that goes on where the challenger was not promoted; "": the one that the
            gate measured the challenger against.
        workspace: where data sets lie.

    Returns:
        A data set with forecasts.parquet, aggregates.parquet (sums by store, family, ...) and bundle/.

    Raises:
        ReleaseError: the challenger was not promoted and there is no champion.
    """
    store = open_store(workspace)
    verdict = json.loads((store.path(decision) / "decision.json").read_text())
    own = json.loads((store.path(evaluation) / RECONCILIATION).read_text())["own"]
    fits = [store.open(uri) for uri in fit]
    against = str(store.open(decision).manifest["config"]["champion"])
    if against and not champion:
        champion = releases_of(store, store.open(panel)).get(against).uri

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        whole = open_panel(store, panel)
        if verdict["promoted"]:
            forecast = _challenger(store, whole, store.path(panel), store.path(evaluation), fits, folder)
        elif champion:
            forecast = _champion(store, whole, store.path(panel), champion, folder)
        else:
            raise ReleaseError(
                "there is nothing to release: no champion yet, and the challenger was not promoted",
                found=" ".join(verdict["reasons"]),
                cure="look at the report; give more history or better covariates, or other models",
            )
        parquet.write_frame(forecast, folder / "forecasts.parquet", "zstd")
        return {"rows": len(forecast), "series": int(forecast["unique_id"].nunique())}

    inputs = {"panel": panel, "evaluation": evaluation, "decision": decision}
    return store.materialise(
        "forecast",
        inputs={
            **{name: store.open(uri).hash for name, uri in inputs.items()},
            **{str(f.manifest["config"]["model"]["name"]): f.hash for f in fits},
        },
        config={"champion": "" if verdict["promoted"] else uris.name_of(champion)},
        code=code_version("components.forecast", *own_module(own)),
        build=build,
    )


def _challenger(
    store: DatasetStore, panel: Panel, context: Path, evaluation: Path, fits: list[Dataset], folder: Path
) -> pd.DataFrame:
    weights = BlendWeights.from_dict(json.loads((evaluation / "weights.json").read_text()))
    calibration = Calibration.from_dict(json.loads((evaluation / "calibration.json").read_text()))
    segments = parquet.read_frame(evaluation / "segments.parquet").set_index("unique_id")[weights.column]
    by_name = {str(fit.manifest["config"]["model"]["name"]): store.path(fit) for fit in fits}
    members = {name: load_fit(path) for name, path in by_name.items()}
    model = Blend.of(members, weights, {str(k): str(v) for k, v in segments.items()})
    write_bundle(folder / "bundle", model, calibration, context, _about(panel, context))
    rows = pd.concat(
        [
            cv_rows(panel, name, panel.cutoff, parquet.read_frame(path / "forecast.parquet"))
            for name, path in by_name.items()
        ]
    )
    rows[weights.column] = rows["unique_id"].map(segments).astype(str)
    rows = marked(rows, panel, weights.column, NEW)
    blended = blend_rows(rows, weights).drop(columns=["cutoff", "model", "y", weights.column])
    coherence = coherence_of(evaluation, panel)
    coherence.save(folder / "bundle" / FOLDER)
    return write_forecasts(folder, panel, calibration.apply_frame(blended), coherence)


def _champion(store: DatasetStore, panel: Panel, context: Path, champion: str, folder: Path) -> pd.DataFrame:
    bundle = Bundle.load(local_copy(store, champion) / "bundle")
    about = {**bundle.about, **_about(panel, context), "fitted_to": bundle.about["fitted_to"]}
    write_bundle(folder / "bundle", bundle.model, bundle.calibration, context, about)
    return carried_on(bundle.folder, folder, panel, bundle.forecast(panel))


def _about(panel: Panel, context: Path) -> dict[str, Any]:
    about = json.loads((context / "panel.json").read_text())
    return {
        "dataset": about["dataset"],
        "keys": about["keys"],
        "cutoff": str(panel.cutoff.date()),
        "fitted_to": str(panel.cutoff.date()),
        "horizon": panel.horizon,
    }


if __name__ == "__main__":
    main(run)
