"""What was seen after release: each day's health, the loop's decisions, and the service's own metrics.

Health and decisions are files that never change, so what was read of them is kept.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pandas as pd
import streamlit as st
from prometheus_client.parser import text_string_to_metric_families

from dashboard import backends
from storecast.errors import StoreError
from storecast.loop.decisions import Decision, DecisionLog, read_decision
from storecast.monitor.health import FILE, Health
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store import sizes as store_sizes
from storecast.store import uri as uris

ERRORS, DRIFT = "errors.parquet", "drift.parquet"
REQUESTS, SECONDS = "storecast_serving_requests_total", "storecast_serving_request_seconds"


def health(dataset: str) -> list[Health]:
    """What monitoring has found of a data set, the oldest day first; of a day that was seen twice, one.

    Raises:
        StoreError: a record is not one.
    """
    return [record for _, record in _records(dataset)]


def errors(dataset: str) -> pd.DataFrame:
    """The errors of what was served, as they were seen last: a row per day, segment and window.

    Returns:
        `ds, column, segment, window_days, n`, and the scores of `storecast.monitor.scores`; without a row
        where nothing was monitored.

    Raises:
        StoreError: a record is not one, or the table cannot be read.
    """
    return _last_table(dataset, ERRORS)


def drift(dataset: str) -> pd.DataFrame:
    """Moves of figures and errors on the last four weeks that were seen: see `storecast.monitor.moved`.

    Raises:
        StoreError: a record is not one, or the table cannot be read.
    """
    return _last_table(dataset, DRIFT)


def _last_table(dataset: str, name: str) -> pd.DataFrame:
    seen = _records(dataset)
    return _table(seen[-1][0], name) if seen else pd.DataFrame()


def _records(dataset: str) -> list[tuple[str, Health]]:
    """URI and content of each day's record of a data set, the oldest day first."""
    root = uris.join(backends.store().root, "datasets", "monitor")
    every = [uris.join(root, key) for key in uris.children(root) if not key.startswith(".")]
    found = ((uri, _health(uri)) for uri in every)
    by_day = {each.as_of: (uri, each) for uri, each in found if each is not None and each.dataset == dataset}
    return [by_day[day] for day in sorted(by_day)]


@st.cache_data(max_entries=20, show_spinner=False)
def _table(uri: str, name: str) -> pd.DataFrame:
    try:
        return parquet.read_frame(backends.store().path(uri) / name)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{name} of monitoring cannot be read", where=uri, found=str(error)) from error


def _health(uri: str) -> Health | None:
    """A day's record; None where there is none, or none yet."""
    try:
        return _read(uris.join(uri, FILE))
    except FileNotFoundError:
        return None


@st.cache_data(max_entries=2_000, show_spinner=False)
def _read(file: str) -> Health:
    if not uris.exists(file):
        raise FileNotFoundError(file)  # which is not kept: it may be there the next time
    return Health.from_dict(json.loads(uris.read_text(file)))


def decisions(dataset: str) -> DecisionLog:
    """What the loop has decided on a data set; each record is read once."""
    return _Kept(backends.store().root, dataset)


class _Kept(DecisionLog):
    def read(self, name: str) -> Decision:
        return _decision(uris.join(self.root, name))


@st.cache_resource(max_entries=10_000, show_spinner=False)
def _decision(uri: str) -> Decision:
    return read_decision(uri)


def answer(dataset: str, asked: Decision, action: str, who: str) -> None:
    """Say yes ("approve") or no ("decline") to a question of the loop; its next pass acts on it."""
    said = f"{who} said {'yes' if action == 'approve' else 'no'} on the dashboard."
    made = asked.next(action, "approval", said, datetime.now(UTC), {"by": who})
    decisions(dataset).record(made)


@st.cache_data(ttl=60, show_spinner=False)
def sizes() -> pd.DataFrame:
    """How much lies in the workspace: `kind, files, bytes`, the largest first.

    Raises:
        StoreError: the store cannot be reached.
    """
    root = backends.store().root
    try:
        found = store_sizes.sizes(root)
    except OSError as error:
        raise StoreError(
            "the store cannot be reached", where=root, found=str(error), cure="check workspace"
        ) from error
    rows = [(kind, size.files, size.bytes) for kind, size in found.items()]
    return pd.DataFrame(rows, columns=["kind", "files", "bytes"])


@st.cache_data(ttl=5, show_spinner=False)
def requests() -> pd.DataFrame:
    """What the service has answered since it was started: `route, status, count, mean_ms`.

    Raises:
        StoreError: the service cannot be reached.
    """
    url = f"{load_settings().service_url}/metrics"
    try:
        answered = httpx.get(url, timeout=backends.SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise StoreError(
            "the service's metrics cannot be read", where=url, found=type(error).__name__
        ) from error
    counts: list[dict[str, object]] = []
    times: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(answered.text):
        for sample in family.samples:
            if sample.name == REQUESTS:
                counts.append({**sample.labels, "count": sample.value})
            elif sample.name in (f"{SECONDS}_sum", f"{SECONDS}_count"):
                part = sample.name.rsplit("_", 1)[-1]
                times.setdefault(sample.labels["route"], {})[part] = sample.value
    table = pd.DataFrame(counts, columns=["route", "status", "count"])
    mean = {route: 1000 * t["sum"] / t["count"] for route, t in times.items() if t.get("count")}
    return table.assign(mean_ms=table["route"].map(mean))
