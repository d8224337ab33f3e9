"""Stage: the forecast and all that explains it, as an immutable release.

    python -m components.release --panel URI --evaluation URI --decision URI --forecast URI --report URI

The release is published, not yet current: `components.activate` does that.
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
from storecast.store.releases import Release, ReleaseStore
from storecast.training_config import NAIVE


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
        champion: URI of the release it was measured against; "": as the gate's decision says.
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
    with store.building(f"release-{made['forecast'].key}") as folder:
        _fill(folder, paths)
        (folder / "lineage.json").write_text(json.dumps(lineage_of(made), indent=1, sort_keys=True) + "\n")
        scores = made["evaluation"].counts["rmsle_last_fold"]
        about = {
            **bundle,
            "rmsle_last_fold": scores,
            "promoted": made["decision"].counts["promoted"],
            "series": made["forecast"].counts["series"],
            "rows": made["forecast"].counts["rows"],
            "panel": made["panel"].hash,
            "evaluation": made["evaluation"].hash,
            "champion": uris.name_of(champion) or made["decision"].manifest["config"]["champion"],
        }
        return ReleaseStore(store, str(bundle["dataset"])).publish(folder, about)


def _fill(folder: Path, paths: dict[str, Path]) -> None:
    shutil.copytree(paths["forecast"] / "bundle", folder / "bundle")
    for name in ("forecasts.parquet", FILE):
        shutil.copy(paths["forecast"] / name, folder)
    shutil.copy(paths["decision"] / "decision.json", folder)
    shutil.copy(paths["panel"] / "quality.json", folder)
    for path in [*sorted(paths["evaluation"].glob("scores*")), paths["evaluation"] / SCORES]:
        shutil.copy(path, folder)
    for path in sorted(paths["report"].iterdir()):
        if path.suffix in {".html", ".png"}:
            shutil.copy(path, folder)
    kept = parquet.read_frame(paths["evaluation"] / "cv.parquet", where={"model": [BLEND, NAIVE]})
    parquet.write_frame(kept, folder / "backtest.parquet", "zstd")


def lineage_of(made: dict[str, Dataset]) -> dict[str, Any]:
    """Where everything came from, down to the hashes of the raw files."""
    wanted = ("stage", "key", "hash", "code", "inputs", "config")
    return {name: {key: dataset.manifest[key] for key in wanted} for name, dataset in made.items()}


if __name__ == "__main__":
    main(run)
