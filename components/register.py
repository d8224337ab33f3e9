"""Stage: the run and its model in MLflow.

    python -m components.register --panel URI --evaluation URI --decision URI --report URI [--release URI]

One MLflow run per pipeline run, with the scores, tables and pictures; one registered model per data set,
whose new version becomes the challenger. `components.activate` makes it the champion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components import mlflow_client, mlflow_registry, mlflow_tracking
from components.aggregates import SCORES
from components.stage import DecisionUri, EvaluationUri, PanelUri, Training, Workspace, main, open_store
from storecast import __version__
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import Dataset
from storecast.store.releases import local_copy
from storecast.training_config import TrainingConfig, load_training_config


def model_name(dataset: str) -> str:
    """Name of a data set's registered model."""
    return f"storecast-{dataset}"


def run(
    panel: PanelUri,
    evaluation: EvaluationUri,
    decision: DecisionUri,
    report: Annotated[str, typer.Option(help="URI of the report.")],
    release: Annotated[str, typer.Option(help="URI of the release, or nothing where there is none.")] = "",
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Log a pipeline run to MLflow and register its model.

    Args:
        panel: URI of the panel.
        evaluation: URI of the evaluation.
        decision: URI of the gate's decision.
        report: URI of the report.
        release: URI of the release whose bundle is registered, or "".
        training: training config, by name or file.
        workspace: where data sets lie.

    Returns:
        A data set with mlflow.json: `run_id`, and `version` of the registered model (0 without a release).

    Raises:
        StoreError: MLflow cannot be reached. Nothing is lost: run the stage again.
    """
    store, config, settings = open_store(workspace), load_training_config(training), load_settings()
    source = {
        name: store.open(uri)
        for name, uri in [
            ("panel", panel),
            ("evaluation", evaluation),
            ("decision", decision),
            ("report", report),
        ]
    }
    about = json.loads((store.path(source["panel"]) / "panel.json").read_text())

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        name, key = f"{config.name} to {about['cutoff']}", source["evaluation"].key
        with mlflow_tracking.run(settings, f"storecast-{about['dataset']}", name, key) as tracked:
            tracked.params(_params(config, source["panel"]))
            tracked.tags({"panel": source["panel"].hash, "release": uris.name_of(release)})
            _log_scores(tracked, store.path(source["evaluation"]))
            tracked.table(
                "comparisons", parquet.read_frame(store.path(source["decision"]) / "comparisons.parquet")
            )
            for path in sorted(store.path(source["report"]).iterdir()):
                if path.suffix in {".html", ".png"}:
                    tracked.file(path)
            version = 0
            if release:
                bundle = local_copy(store, release) / "bundle"
                version = mlflow_registry.register(tracked, bundle, model_name(about["dataset"]))
        content = {"run_id": tracked.id, "version": version}
        (folder / "mlflow.json").write_text(json.dumps(content) + "\n")
        return content

    return store.materialise(
        "register",
        inputs={name: dataset.hash for name, dataset in source.items()},
        config={
            "release": uris.name_of(release),
            "tracking_uri": mlflow_client.tracking_uri(settings),
            "training": config.model_dump(mode="json"),
        },
        code=__version__,  # what is logged is inputs; new code alone is no reason to log them again
        build=build,
    )


def _params(config: TrainingConfig, panel: Dataset) -> dict[str, object]:
    return {**config.model_dump(mode="json"), "series": panel.counts["series"], "version": __version__}


def _log_scores(tracked: mlflow_tracking.TrackedRun, evaluation: Path) -> None:
    """Each model's RMSLE, a step per fold, and every table of scores."""
    scores = pd.DataFrame(json.loads((evaluation / "scores.json").read_text()))
    for fold, (_, rows) in enumerate(scores.groupby("cutoff", sort=True), start=1):
        figures = rows.set_index("model")[["rmsle", "coverage_80", "coverage_95"]]
        for column in figures:
            tracked.metrics({f"{column}/{model}": v for model, v in figures[column].items()}, step=fold)
    for path in sorted(evaluation.glob("scores_*.parquet")):
        tracked.table(path.stem, parquet.read_frame(path))
    tracked.table("scores_of_sums", parquet.read_frame(evaluation / SCORES))


if __name__ == "__main__":
    main(run)
