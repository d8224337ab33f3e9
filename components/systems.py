"""What the platform's own parts say about themselves: the service's /metrics and the store's size.

A part that does not answer is named in `errors`, and the rest is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypedDict, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from storecast.errors import StorecastError
from storecast.store.sizes import sizes

TIMEOUT_SECONDS = 5.0
PREFIX = "storecast_serving_"

Part = TypeVar("Part")


class Serving(TypedDict):
    """The service since its workers started.

    `release` is the one it serves, None before the first; `requests` answers of all routes, `failed` those
    with status 500 and above, `refused` those with 429 and 503; `p50`, `p95`, `p99` seconds within which that
    share of the requests was answered, None where there were none, infinite beyond the last bucket's bound.
    """

    ready: bool
    release: str | None
    requests: int
    failed: int
    refused: int
    failed_share: float
    p50: float | None
    p95: float | None
    p99: float | None
    swaps: int
    refusals: int
    store_failures: int


class Folder(TypedDict):
    """Files of one kind in the store."""

    files: int
    bytes: int


class Systems(TypedDict):
    """What was gathered; `serving` and `store` are None where `errors` says why."""

    at: str
    serving: Serving | None
    store: dict[str, Folder] | None
    errors: dict[str, str]


def gather(serving_url: str, root: str) -> Systems:
    """Ask every part.

    Args:
        serving_url: address of the service, such as http://127.0.0.1:3000; "": there is none.
        root: URI of the workspace.
    """
    errors: dict[str, str] = {}
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "serving": _asked("serving", lambda: serving(serving_url), errors) if serving_url else None,
        "store": _asked("store", lambda: store(root), errors),
        "errors": errors,
    }


def _asked(name: str, ask: Callable[[], Part], errors: dict[str, str]) -> Part | None:
    try:
        return ask()
    except (httpx.HTTPError, httpx.InvalidURL, StorecastError, OSError, ValueError) as error:
        errors[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
        return None


def serving(url: str) -> Serving:
    """The service's figures.

    Raises:
        httpx.HTTPError: it does not answer.
        ValueError: what it answers is not what Prometheus reads.
    """
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS) as client:
        ready = client.get("/readyz")
        metrics = client.get("/metrics")
    metrics.raise_for_status()
    return figures(metrics.text, ready.is_success, _release(ready))


def _release(ready: httpx.Response) -> str | None:
    try:
        content = ready.json()
    except ValueError:
        return None
    return content.get("release") if isinstance(content, dict) else None


def figures(text: str, ready: bool, release: str | None) -> Serving:
    """The service's figures from the text of /metrics."""
    totals: dict[str, float] = defaultdict(float)
    statuses: dict[str, float] = defaultdict(float)
    buckets: dict[float, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            if name == "requests_total":
                statuses[sample.labels["status"]] += sample.value
            elif name == "request_seconds_bucket":
                buckets[float(sample.labels["le"])] += sample.value
            else:
                totals[name] += sample.value
    requests = sum(statuses.values())
    failed = sum(count for status, count in statuses.items() if status >= "500")
    p50, p95, p99 = (_quantile(buckets, share) for share in (0.5, 0.95, 0.99))
    return {
        "ready": ready,
        "release": release,
        "requests": int(requests),
        "failed": int(failed),
        "refused": int(statuses["429"] + statuses["503"]),
        "failed_share": failed / requests if requests else 0.0,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "swaps": int(totals["swaps_total"]),
        "refusals": int(totals["refusals_total"]),
        "store_failures": int(totals["store_failures_total"]),
    }


def _quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Upper bound of the bucket that holds the quantile: cumulative counts, as Prometheus keeps them."""
    if not buckets or not max(buckets.values()):
        return None
    wanted = share * max(buckets.values())
    return min(bound for bound, count in buckets.items() if count >= wanted)


def store(root: str) -> dict[str, Folder]:
    """Files and bytes of each kind of data in the workspace; see `storecast.store.sizes`.

    Raises:
        StoreError: storage of this kind is not available.
        OSError: it cannot be reached.
    """
    return {kind: {"files": size.files, "bytes": size.bytes} for kind, size in sizes(root).items()}
