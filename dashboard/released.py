"""What a release holds. It never changes, so what was read of it is kept by its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import backends
from dashboard.history import PanelFiles, open_panel
from storecast.blend import BLEND
from storecast.errors import StoreError
from storecast.gate import Decision
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.releases import Release, ReleaseStore, named
from storecast.training_config import NAIVE

HOLDS = ("unique_id", "ds", "cutoff", "model", "y", "yhat")


def every(store: ReleaseStore) -> list[Release]:
    """All releases of a data set, oldest cutoff first; each is looked into once."""
    known = _known(store.root)
    ids = store.ids(known)
    known.update({each: store.get(each) for each in ids if each not in known})
    return [known[each] for each in ids]


@st.cache_resource(show_spinner=False)
def _known(root: str) -> dict[str, Release]:
    """The releases of a place that were seen before, by id; `root` tells the places apart."""
    del root
    return {}


@st.cache_data(max_entries=50, show_spinner=False)
def folder(uri: str) -> str:
    """A local folder with a release's files; an object store's are fetched once."""
    dataset, release_id = named(uri)
    return str(backends.releases(dataset).path(Release(release_id, uri, {})))


@st.cache_data(max_entries=20, show_spinner=False)
def table(uri: str, name: str, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    """A table of a release, by name without its ending.

    Raises:
        StoreError: the release has no such table, or it is damaged.
    """
    path = Path(folder(uri)) / f"{name}.parquet"
    try:
        return parquet.read_frame(path, columns or None)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"the release's {name} cannot be read", where=uri, found=str(error)) from error


@st.cache_data(max_entries=50, show_spinner=False)
def document(uri: str, name: str) -> Any:
    """A JSON file of a release, such as "quality.json".

    Raises:
        StoreError: the release has no such file.
    """
    try:
        return json.loads((Path(folder(uri)) / name).read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"the release's {name} cannot be read", where=uri, found=str(error)) from error


def panel(uri: str) -> PanelFiles:
    """The panel that the release was made from."""
    return open_panel(str(Path(folder(uri)) / "bundle" / "context"))


def decision(uri: str) -> Decision:
    """What the gate said of the release."""
    return Decision.from_dict(document(uri, "decision.json"))


def scores(uri: str, by: str = "overall") -> pd.DataFrame:
    """Scores of every model over all folds, by a segment column, "cutoff", "h" or "overall"."""
    return table(uri, f"scores_{by}")


def segment_columns(uri: str) -> list[str]:
    """Columns that the release's scores are split by."""
    names = sorted(path.stem.removeprefix("scores_") for path in Path(folder(uri)).glob("scores_*.parquet"))
    return [name for name in names if name not in {"overall", "cutoff", "h"}]


def accuracy(uri: str) -> tuple[float, float]:
    """RMSLE of the released forecast and of the seasonal naive over all folds: what it promises."""
    overall = scores(uri).set_index("model")["rmsle"]
    shown = BLEND if BLEND in overall.index else str(overall.idxmin())
    return float(overall[shown]), float(overall[NAIVE])


def all_models(uri: str) -> pd.DataFrame:
    """Every model's forecasts of the folds beside what happened: of the evaluation that led to the release.

    Raises:
        StoreError: the evaluation is not in the store any more, or there are several.
    """
    made = document(uri, "lineage.json").get("evaluation")
    if not made:
        raise StoreError(
            "the release joins those of partitions, each with an evaluation of its own",
            where=uri,
            cure="choose one of the partitions",
        )
    key = str(made["key"])
    return _cv(uris.join(backends.store().root, "datasets", "evaluate", key))


@st.cache_data(max_entries=4, show_spinner=False)
def _cv(uri: str) -> pd.DataFrame:
    store = backends.store()
    store.open(uri)
    try:
        return parquet.read_frame(store.path(uri) / "cv.parquet", HOLDS)
    except (OSError, ValueError) as error:
        raise StoreError("the evaluation cannot be read", where=uri, found=str(error)) from error
