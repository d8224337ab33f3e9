"""Stage: a released model's forecast from new data, as a release.

    python -m components.refresh --panel URI [--release URI]

Nothing is trained and nothing is judged: the model goes on, from a newer history. Its scores, its report and
the gate's decision are those of the release it was made in. The release is published, not yet current.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from components.aggregates import carried_on
from components.stage import PanelUri, Workspace, main, open_panel, open_store, releases_of
from storecast.bundle import Bundle, write_bundle
from storecast.errors import ReleaseError
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ABOUT, CHECKSUMS, LINEAGE, Release

OWN = {"bundle", "forecasts.parquet", "aggregates.parquet", "quality.json", LINEAGE, ABOUT, CHECKSUMS}
"""What a refreshed release has anew; all else is as in the release it comes from."""


def run(
    panel: PanelUri,
    release: Annotated[str, typer.Option(help="URI of the release; default: the current one.")] = "",
    workspace: Workspace = "",
) -> Release:
    """Forecast a panel's future by the model of a release.

    Args:
        panel: URI of the panel.
        release: URI of the release whose model forecasts; "": the current one.
        workspace: where data sets and releases lie.

    Returns:
        The new release; the one that is there, where it has been made before.

    Raises:
        ReleaseError: there is no release yet.
        ModelError: another version of the models wrote the release.
    """
    store = open_store(workspace)
    source = store.open(panel)
    releases = releases_of(store, source)
    before = releases.get(uris.name_of(release)) if release else releases.current()
    if before is None:
        raise ReleaseError("there is no release to refresh", where=releases.root, cure="storecast run")
    with store.building(f"refresh-{source.key}-{before.id}") as folder:
        origin, context = releases.path(before), store.path(panel)
        _copy_shared(origin, folder)
        about = _fill(store, panel, origin, folder)
        lineage = json.loads((origin / LINEAGE).read_text())
        made = {name: source.manifest[name] for name in ("stage", "key", "hash", "code", "inputs", "config")}
        text = json.dumps({**lineage, "panel": made, "refreshed": before.id}, indent=1, sort_keys=True)
        (folder / LINEAGE).write_text(text + "\n")
        shutil.copy(context / "quality.json", folder)
        kept = {"panel": source.hash, "promoted": False, "champion": before.id}
        return releases.publish(folder, {**before.about, **about, **kept})


def _copy_shared(origin: Path, folder: Path) -> None:
    for path in sorted(origin.iterdir()):
        if path.name in OWN:
            continue
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)


def _fill(store: DatasetStore, panel: str, origin: Path, folder: Path) -> dict[str, object]:
    """Write the bundle with the new panel and its forecasts; what the release says about itself of these."""
    bundle, whole, context = Bundle.load(origin / "bundle"), open_panel(store, panel), store.path(panel)
    about = {**bundle.about, "cutoff": str(whole.cutoff.date()), "horizon": whole.horizon}
    write_bundle(folder / "bundle", bundle.model, bundle.calibration, context, about)
    forecast = carried_on(bundle.folder, folder, whole, bundle.forecast(whole))
    parquet.write_frame(forecast, folder / "forecasts.parquet", "zstd")
    return {**about, "series": int(forecast["unique_id"].nunique()), "rows": len(forecast)}


if __name__ == "__main__":
    main(run)
