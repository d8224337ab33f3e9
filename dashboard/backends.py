"""What stands behind the dashboard: the store, Prefect, the service, MLflow. Each may be away by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import streamlit as st

from storecast.client import Client
from storecast.errors import StorecastError, StoreError
from storecast.settings import Settings, load_settings
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore

SECONDS = 2.0
"""How long a backend may take to say that it is there."""
WHAT_IF_SECONDS = 60.0
TUNED, TRAINING_FILE = "tuned", "training.yaml"
"""Where the stage `tune_report` leaves a config: tuned/DATASET/TRAINING/training.yaml."""


@dataclass(frozen=True)
class Health:
    """Whether a backend answers, and what it says."""

    name: str
    ok: bool
    said: str


def store() -> DatasetStore:
    """The store of data sets and releases."""
    return DatasetStore(load_settings().root)


def datasets() -> list[str]:
    """Data sets that have a release.

    Raises:
        StoreError: the store cannot be reached.
    """
    root = store().root
    try:
        return uris.children(uris.join(root, "releases"))
    except OSError as error:
        raise StoreError(
            "the store cannot be reached", where=root, found=str(error), cure="check workspace"
        ) from error


def releases(dataset: str) -> ReleaseStore:
    """The releases of a data set."""
    return ReleaseStore(store(), dataset)


@st.cache_data(ttl=10, show_spinner=False)
def tuned_configs() -> list[str]:
    """URIs of the training configs that tunings have left in the workspace; none where it is away."""
    root = uris.join(store().root, TUNED)
    try:
        places = [uris.join(root, dataset) for dataset in uris.children(root)]
        made = [uris.join(place, name, TRAINING_FILE) for place in places for name in uris.children(place)]
        return [uri for uri in made if uris.exists(uri)]
    except (OSError, StorecastError):
        return []  # a run can be started all the same; the other pages say that the store is away


@contextmanager
def service() -> Iterator[Client]:
    """The service of forecasts."""
    settings = load_settings()
    key = settings.serving_key.get_secret_value()
    with Client(settings.service_url, key, timeout=WHAT_IF_SECONDS, attempts=2) as client:
        yield client


def need_prefect() -> None:
    """Refuse where no Prefect API is named: its client would start a server in this process.

    Raises:
        StoreError: none is named.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise StoreError(
            "runs are not to be seen: no Prefect API is named",
            where="prefect_api_url",
            cure="storecast up starts one on this machine; or set STORECAST_PREFECT_API_URL",
        )


@st.cache_data(ttl=1, show_spinner=False)
def health() -> list[Health]:
    """Every backend's, asked at the same time."""
    settings = load_settings()
    asked = (_store_health, _prefect_health, _service_health, _mlflow_health)
    with ThreadPoolExecutor(len(asked)) as threads:
        return list(threads.map(lambda ask: ask(settings), asked))


@st.cache_data(ttl=1, show_spinner=False)
def served() -> dict[str, Any]:
    """What the service says of the release that it serves.

    Raises:
        ServiceError: it cannot be reached, refuses, or serves nothing yet.
    """
    settings = load_settings()
    key = settings.serving_key.get_secret_value()
    with Client(settings.service_url, key, timeout=SECONDS, attempts=1) as client:
        return client.current()


def _store_health(settings: Settings) -> Health:
    try:
        fs, path = uris.filesystem(settings.root)
        there = bool(fs.exists(path))
    except (OSError, StorecastError) as error:
        return Health("Store", False, str(error).splitlines()[0])
    return Health("Store", True, settings.root if there else f"{settings.root} (empty)")


def _prefect_health(settings: Settings) -> Health:
    del settings
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return Health("Prefect", False, "no API is named")
    return _asked("Prefect", f"{url}/health", url.removesuffix("/api"))


def _service_health(settings: Settings) -> Health:
    return _asked("Forecasts", f"{settings.service_url}/readyz", settings.service_url)


def _mlflow_health(settings: Settings) -> Health:
    uri = settings.tracking_uri
    if not uri.startswith("http"):
        return Health("MLflow", True, uri or "SQLite in the home folder")
    return _asked("MLflow", f"{uri.rstrip('/')}/health", settings.tracking_page or uri)


def _asked(name: str, url: str, place: str) -> Health:
    try:
        answer = httpx.get(url, timeout=SECONDS)
    except httpx.HTTPError as error:
        return Health(name, False, f"does not answer at {place} ({type(error).__name__})")
    return Health(
        name, answer.is_success, place if answer.is_success else f"{place} says {answer.status_code}"
    )
