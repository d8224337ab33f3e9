"""After a release: does the service serve it?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from pipelines import stack
from storecast.client import Client, ServiceError
from storecast.settings import Settings

SECONDS, POLL_SECONDS = 60.0, 1.0


@dataclass(frozen=True)
class Probe:
    """What the service answered.

    Attributes:
        status: "serves" the release; has "refused" it, and goes on with the last good one; serves "another";
            is "away"; or is "unknown": no address is set, or the service is another data set's.
        found: the release it serves, or what is in the way.
    """

    status: Literal["serves", "refused", "another", "away", "unknown"]
    found: str


def probe(settings: Settings, dataset: str, release: str, seconds: float = SECONDS) -> Probe:
    """Ask the service until it serves a release, or the time is up.

    Args:
        settings: `serving_url` and `serving_key`; without them the local stack's service is asked, where
            it is up, with a key made for that.
        dataset: name of the release's data set.
        release: id of the release.
        seconds: how long to wait for it.
    """
    url, key = settings.serving_url, settings.serving_key.get_secret_value()
    if not url:
        url, key = stack.service(settings, "loop")
    if not url:
        return Probe("unknown", "serving_url is not set, and the local stack is not up")
    deadline = time.monotonic() + seconds
    while True:
        answer = _ask(url, key, dataset, release)
        if answer.status in {"serves", "refused", "unknown"} or time.monotonic() > deadline:
            return answer
        time.sleep(POLL_SECONDS)


def _ask(url: str, key: str, dataset: str, release: str) -> Probe:
    try:
        with Client(url, key, timeout=10.0, attempts=1) as client:
            answer = client.current()
    except ServiceError as error:
        return Probe("away", str(error))
    if answer["dataset"] != dataset:
        return Probe("unknown", f"the service serves data set {answer['dataset']}")
    if release in answer["refused"]:
        return Probe("refused", str(answer["refused"][release]))
    return Probe("serves" if answer["id"] == release else "another", str(answer["id"]))
