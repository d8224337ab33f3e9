"""Stage: the forecast and all that explains it, as an immutable release.

    python -m components.release --panel URI --evaluation URI --decision URI --forecast URI --report URI

The release is published, not yet current: `components.activate` does that. Its scores and its report are
those of the model that forecasts: where the challenger was refused, the champion's, as its release has them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from components.aggregates import FILE, SCORES
from components.stage import DecisionUri, EvaluationUri, PanelUri, Workspace, main, open_store
from storecast.blend import BLEND
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import Dataset
from storecast.store.releases import LINEAGE, Release, ReleaseStore
from storecast.training_config import NAIVE

BACKTEST = "backtest.parquet"


def run(
    panel: PanelUri,
    evaluation: EvaluationUri,
    decision: DecisionUri,
    forecast: Annotated[str, typer.Option(help="URI of the forecast.")],
    report: Annotated[str, typer.Option(help="URI of the report.")],
    champion: Annotated[str, typer.Option(help="URI of a release; default: the gate's.")] = "",
    workspace: Workspace = "",
) -> Release:
    """Publish a release.

    Args:
        panel: URI of the panel.
        evaluation: URI of the evaluation.
        decision: URI of the gate's decision.
        forecast: URI of the forecast.
        report: URI of the report.
        champion: URI of the release whose model forecasts where the challenger was refused; "": the one that
            the gate measured it against.
        workspace: where data sets and releases lie.

    Returns:
        The release: forecasts.parquet, aggregates.parquet (sums by store, family, ...), bundle/,
        backtest.parquet, scores, report, lineage, checksums.
    """
    store = open_store(workspace)
    parts = {
        "panel": panel,
        "evaluation": evaluation,
        "decision": decision,
        "forecast": forecast,
        "report": report,
    }
    made = {name: store.open(uri) for name, uri in parts.items()}
    paths = {name: store.path(dataset) for name, dataset in made.items()}
    bundle = json.loads((paths["forecast"] / "bundle" / "bundle.json").read_text())
    releases = ReleaseStore(store, str(bundle["dataset"]))
    against = uris.name_of(champion) or str(made["decision"].manifest["config"]["champion"])
    promoted = made["decision"].counts["promoted"]
    with store.building(f"release-{made['forecast'].key}") as folder:
        _fill(folder, paths)
        lineage = lineage_of(made)
        if promoted:
            _copy(_told_in(paths["evaluation"], paths["report"]), folder)
            kept = parquet.read_frame(paths["evaluation"] / "cv.parquet", where={"model": [BLEND, NAIVE]})
            parquet.write_frame(kept, folder / BACKTEST, "zstd")
            scored = {
                "rmsle_last_fold": made["evaluation"].counts["rmsle_last_fold"],
                "evaluation": made["evaluation"].hash,
            }
        else:
            origin = releases.get(against)
            told = releases.path(origin)
            _copy([*_told_in(told, told), told / BACKTEST], folder)
            before = origin.lineage()
            lineage |= {name: before[name] for name in ("evaluation", "report")}
            scored = {name: origin.about[name] for name in ("rmsle_last_fold", "evaluation")}
        (folder / LINEAGE).write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n")
        about = {
            **bundle,
            **scored,
            "promoted": promoted,
            "series": made["forecast"].counts["series"],
            "rows": made["forecast"].counts["rows"],
            "panel": made["panel"].hash,
            "challenger_evaluation": made["evaluation"].hash,
            "champion": against,
        }
        return releases.publish(folder, about)


def _fill(folder: Path, paths: dict[str, Path]) -> None:
    shutil.copytree(paths["forecast"] / "bundle", folder / "bundle")
    for name in ("forecasts.parquet", FILE):
        shutil.copy(paths["forecast"] / name, folder)
    shutil.copy(paths["decision"] / "decision.json", folder)
    shutil.copy(paths["panel"] / "quality.json", folder)


def _told_in(evaluation: Path, report: Path) -> list[Path]:
    """The files that tell how good a model is: its scores, and the pages and pictures of its report."""
    pages = [path for path in sorted(report.iterdir()) if path.suffix in {".html", ".png"}]
    return [*sorted(evaluation.glob("scores*")), evaluation / SCORES, *pages]


def _copy(files: list[Path], folder: Path) -> None:
    for file in files:
        shutil.copy(file, folder)


def lineage_of(made: dict[str, Dataset]) -> dict[str, Any]:
    """Where everything came from, down to the hashes of the raw files."""
    wanted = ("stage", "key", "hash", "code", "inputs", "config")
    return {name: {key: dataset.manifest[key] for key in wanted} for name, dataset in made.items()}


if __name__ == "__main__":
    main(run)
