"""Stage: the pictures and the page that explain a run.

python -m components.report --panel URI --evaluation URI --decision URI --fit URI ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from components.aggregates import SCORES
from components.stage import (
    DecisionUri,
    EvaluationUri,
    PanelUri,
    Training,
    Workspace,
    main,
    open_panel,
    open_store,
)
from storecast.backtest import fold_cutoffs
from storecast.blend import BlendWeights
from storecast.gate import Decision
from storecast.metrics import naive_scale
from storecast.report import ReportInputs, write_report
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.training_config import TrainingConfig, load_training_config


def run(
    panel: PanelUri,
    evaluation: EvaluationUri,
    decision: DecisionUri,
    fit: Annotated[list[str], typer.Option(help="URI of a fit, whose fallbacks are listed; once per fit.")],
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Draw the pictures and write the page.

    Args:
        panel: URI of the panel.
        evaluation: URI of the evaluation.
        decision: URI of the gate's decision.
        fit: URIs of the fits.
        training: training config, by name or file.
        workspace: where data sets lie.

    Returns:
        A data set with report.html and PNG pictures.
    """
    store, config = open_store(workspace), load_training_config(training)
    source, scores, verdict = store.open(panel), store.open(evaluation), store.open(decision)
    fits = [store.open(uri) for uri in fit]

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        content = material(store, source, scores, verdict, fits, config)
        return {"files": [path.name for path in write_report(folder, content)]}

    return store.materialise(
        "report",
        inputs={
            "panel": source.hash,
            "evaluation": scores.hash,
            "decision": verdict.hash,
            **{f"fit {number}": item.hash for number, item in enumerate(fits)},
        },
        config={"training": config.name, "folds": config.folds},
        code=code_version("components.report"),
        build=build,
    )


def material(
    store: DatasetStore,
    panel: Dataset,
    evaluation: Dataset,
    decision: Dataset,
    fits: Sequence[Dataset],
    config: TrainingConfig,
) -> ReportInputs:
    """What the report is made of."""
    whole, made = open_panel(store, panel.uri), store.path(evaluation)
    about = json.loads((store.path(panel) / "panel.json").read_text())
    return ReportInputs(
        title=f"{about['dataset']}, forecast from {about['cutoff']}",
        cv=parquet.read_frame(made / "cv.parquet", categories=["unique_id"]),
        panel=whole,
        weights=BlendWeights.from_dict(json.loads((made / "weights.json").read_text())),
        decision=Decision.from_dict(json.loads((store.path(decision) / "decision.json").read_text())),
        scale=naive_scale(whole.at(fold_cutoffs(whole, config.folds)[0], 0)),
        fallbacks=[line for item in fits for line in _fallbacks(item, store.path(item))],
        quality=panel.counts["totals"],
        levels=parquet.read_frame(made / SCORES),
        lineage={
            "panel": panel.hash[:16],
            "evaluation": evaluation.hash[:16],
            "training": config.name,
            **{f"raw {name}": digest[:16] for name, digest in panel.manifest["inputs"].items()},
        },
    )


def _fallbacks(fit: Dataset, folder: Path) -> list[dict[str, str]]:
    about = fit.manifest["config"]
    found = json.loads((folder / "report.json").read_text())["fallbacks"]
    return [{"model": about["model"]["name"], "cutoff": about["cutoff"], **line} for line in found]


if __name__ == "__main__":
    main(run)
