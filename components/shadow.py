"""Stage: two releases beside each other on what has happened since the newer one was made.

    python -m components.shadow --panel URI --release URI --other URI

The newer one is a challenger before it is promoted, or a release on trial; the other the one before it. Both
forecast from the newer one's cutoff, the newer as it was released, the other anew from the same history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from components.stage import PanelUri, Workspace, main, open_panel, open_store, releases_of
from storecast.bundle import Bundle
from storecast.loop.judge import Duel
from storecast.panel import Floats, Panel
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.code import code_version
from storecast.store.datasets import Dataset

FILE = "duel.json"


def run(
    panel: PanelUri,
    release: Annotated[str, typer.Option(help="URI of the newer release.")],
    other: Annotated[str, typer.Option(help="URI of the release before it.")],
    workspace: Workspace = "",
) -> Dataset:
    """Compare a release with the one before it on the actuals since its cutoff, up to its horizon.

    Args:
        panel: URI of a panel that knows more than the newer release did.
        release: URI of the newer release.
        other: URI of the release before it.
        workspace: where data sets lie.

    Returns:
        A data set with duel.json: days, rows, and the pooled RMSLE of `newer` and `older`.

    Raises:
        ModelError: another version of the models wrote the other release.
    """
    store = open_store(workspace)
    source = store.open(panel)
    releases = releases_of(store, source)
    newer, older = (releases.get(uris.name_of(uri)) for uri in (release, other))

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        whole = open_panel(store, panel)
        duel = duel_of(whole, releases.path(newer), releases.path(older))
        (folder / FILE).write_text(json.dumps(asdict(duel)) + "\n")
        return {"days": duel.days, "rows": duel.rows}

    return store.materialise(
        "shadow",
        inputs={"panel": source.hash},
        config={"release": newer.id, "other": older.id},
        code=code_version("components.shadow"),
        build=build,
    )


def read_duel(folder: Path) -> Duel:
    """What the stage has found."""
    return Duel(**json.loads((folder / FILE).read_text()))


def duel_of(panel: Panel, newer: Path, older: Path) -> Duel:
    """Two releases' forecasts from the newer one's cutoff, on the days that the panel knows since."""
    about = json.loads((newer / "bundle" / "bundle.json").read_text())
    cutoff, horizon = pd.Timestamp(about["cutoff"]), int(about["horizon"])
    since = max(panel.between(cutoff, panel.cutoff), 0)
    actual = panel.actuals(cutoff, min(since, horizon))
    released = parquet.read_frame(newer / "forecasts.parquet", ["unique_id", "ds", "yhat"])
    if actual.shape[1] == 0:
        return Duel(0, 0, float("nan"), float("nan"))
    anew = Bundle.load(older / "bundle").forecast(panel.at(cutoff, horizon))
    one, other = (_wide(frame, panel, cutoff, actual.shape[1]) for frame in (released, anew))
    return Duel.of(actual, one, other, panel.frequency.days, over=since >= horizon)


def _wide(forecast: pd.DataFrame, panel: Panel, cutoff: pd.Timestamp, days: int) -> Floats:
    """(n, days) forecasts by the panel's series; NaN for those that it does not have."""
    out = np.full((panel.n_series, days), np.nan)
    rows = pd.Index(panel.ids).get_indexer(pd.Index(forecast["unique_id"].astype(str)))
    start = int(panel.dates.searchsorted(cutoff)) + 1
    cols = panel.dates.get_indexer(pd.DatetimeIndex(forecast["ds"])) - start
    inside = (rows >= 0) & (cols >= 0) & (cols < days)
    out[rows[inside], cols[inside]] = forecast["yhat"].to_numpy(dtype=np.float64)[inside]
    return out


if __name__ == "__main__":
    main(run)
