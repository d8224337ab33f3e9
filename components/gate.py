"""Stage: may the challenger become the champion?

    python -m components.gate --panel URI --evaluation URI [--champion RELEASE_URI]

The champion is compared on rows it has not learnt from: folds after its own cutoff, which it forecasts
anew; where there are none yet, or another version of the models wrote it, the days that both backtests
forecast, each at its own lead, beside the sales as they are known now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components.stage import PanelUri, Training, Workspace, main, open_panel, open_store, releases_of
from storecast.backtest import cv_rows
from storecast.blend import BLEND
from storecast.bundle import Bundle
from storecast.errors import DataError, ModelError
from storecast.gate import Decision, decide
from storecast.metrics import CV_COLUMNS, KEYS
from storecast.panel import Panel
from storecast.segments import attach
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.code import code_version
from storecast.store.datasets import Dataset
from storecast.store.releases import Release, ReleaseStore, local_copy
from storecast.training_config import NAIVE, load_training_config

CHAMPION = "champion"
CURRENT = "current"


def run(
    panel: PanelUri,
    evaluation: Annotated[str, typer.Option(help="URI of the challenger's evaluation.")],
    champion: Annotated[
        str, typer.Option(help="URI of the release to measure against; current: the one that is; or nothing.")
    ] = "",
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Decide whether the challenger becomes the champion.

    Args:
        panel: URI of the panel.
        evaluation: URI of the challenger's evaluation.
        champion: URI of the release to measure against; "current": the current one; "" where there is none.
        training: training config: its `gate` sets the rules.
        workspace: where data sets lie.

    Returns:
        A data set with decision.json and comparisons.parquet. Its counts say `promoted`, and `release`:
        whether there is something to release, the challenger's forecast or the champion's from a new panel.

    Raises:
        DataError: the champion has no forecast for a series and day of the challenger's backtest.
    """
    store, config = open_store(workspace), load_training_config(training)
    source, scores = store.open(panel), store.open(evaluation)
    against = _rival(releases_of(store, source), champion, scores)

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        cv = parquet.read_frame(store.path(scores) / "cv.parquet", where={"model": [BLEND, NAIVE]})
        rival = None
        if against:
            whole = open_panel(store, panel)
            cv = _beside_champion(cv, whole, local_copy(store, against.uri))
            if cv.empty:
                raise _not_comparable(against, whole)
            segments = parquet.read_frame(store.path(scores) / "segments.parquet").set_index("unique_id")
            cv = attach(cv, segments, config.gate.segments)
            rival = CHAMPION
        decision = decide(cv, challenger=BLEND, champion=rival, naive=NAIVE, config=config.gate)
        anew = against is not None and against.about["panel"] != source.hash
        return {**write_decision(folder, decision), "release": decision.promoted or anew}

    return store.materialise(
        "gate",
        inputs={"panel": source.hash, "evaluation": scores.hash},
        config={**config.gate.model_dump(mode="json"), "champion": against.id if against else ""},
        code=code_version("components.gate"),
        build=build,
    )


def _rival(releases: ReleaseStore, champion: str, scores: Dataset) -> Release | None:
    if champion == CURRENT:
        return releases.rival(scores.hash)
    return releases.get(uris.name_of(champion)) if champion else None


def _not_comparable(champion: Release, panel: Panel) -> DataError:
    return DataError(
        "the new model cannot be compared with the champion: their forecasts share no series and day",
        where="gate",
        expected=f"series that the champion {champion.id} knows, and sales after {champion.about['cutoff']}",
        found=f"{panel.n_series} series until {panel.cutoff.date()}",
        cure="train on newer data, or give another retailer's data a data set name of its own",
    )


def write_decision(folder: Path, decision: Decision) -> Mapping[str, Any]:
    """Write a decision as JSON and its comparisons as a table."""
    (folder / "decision.json").write_text(json.dumps(decision.to_dict(), indent=1, sort_keys=True) + "\n")
    parquet.write_frame(decision.to_frame(), folder / "comparisons.parquet")
    return {"promoted": decision.promoted, "comparisons": len(decision.comparisons)}


def _beside_champion(cv: pd.DataFrame, panel: Panel, release: Path) -> pd.DataFrame:
    """The cv table with the champion's rows, all models on the same series and days."""
    cutoffs = sorted(cv["cutoff"].unique())
    theirs = _forecast_anew(release, panel, cutoffs)
    if theirs is not None:
        unseen = theirs["cutoff"].unique()
        return _common(pd.concat([cv[cv["cutoff"].isin(unseen)], theirs]), list(KEYS))
    theirs = parquet.read_frame(release / "backtest.parquet", where={"model": [BLEND]}).assign(model=CHAMPION)
    known = cv.loc[cv["model"] == BLEND, ["unique_id", "ds", "y"]]  # sales came late or were corrected since
    theirs = theirs.drop(columns="y").merge(known, on=["unique_id", "ds"], how="left")
    columns = list(CV_COLUMNS)  # static columns may be others since; segments come from the panel as it is
    both = pd.concat([cv[columns], theirs[columns]]).assign(cutoff=cutoffs[-1])
    return _common(both, ["unique_id", "ds"])


def _forecast_anew(release: Path, panel: Panel, cutoffs: Sequence[pd.Timestamp]) -> pd.DataFrame | None:
    """The champion's rows of the folds after its cutoff; None without such folds, or if it does not load or
    misses a column of the panel that it has learnt."""
    about = json.loads((release / "bundle" / "bundle.json").read_text())
    unseen = [c for c in cutoffs if c >= pd.Timestamp(about["fitted_to"])]
    if not unseen:
        return None
    try:
        bundle = Bundle.load(release / "bundle")
        forecasts = [bundle.forecast(panel.at(c, panel.horizon)) for c in unseen]
    except (ModelError, DataError):
        return None
    return pd.concat([cv_rows(panel, CHAMPION, c, f) for c, f in zip(unseen, forecasts, strict=True)])


def _common(cv: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows whose keys every model has."""
    models = cv["model"].nunique()
    return cv[cv.groupby(keys, observed=True)["model"].transform("nunique") == models]


if __name__ == "__main__":
    main(run)
