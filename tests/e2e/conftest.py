"""One platform for all end-to-end tests: a new kind cluster, the images loaded, the chart installed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from cluster import Platform, Timeline, until

TIMELINE = Timeline()
NAMESPACE = "shop"
READY_SECONDS = 300.0


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The installed platform. E2E=keep leaves the cluster there, and uses one that is there.

    CLUSTER is its name if it is not to be storecast-e2e.
    """
    keep = os.environ.get("E2E", "") == "keep"
    made = Platform(os.environ.get("CLUSTER", "storecast-e2e"), NAMESPACE, TIMELINE)
    with TIMELINE.step("make kind-up: a new cluster of two nodes"):
        if not keep:
            made.make("kind-down")  # what a run that was killed has left
        made.make("kind-up")
    try:
        with TIMELINE.step("make deploy: images loaded, chart installed"):
            # Two cores have room for training beside one pod of the service, not beside three.
            made.make("deploy", "serving.autoscaling.maxReplicas=1", seconds=1200)
        with TIMELINE.step("everything is ready"):
            until("every pod ready", made.ready, READY_SECONDS, every=3)
        with made.client, made.forwarded("storecast-prefect-server", 4200) as address:
            made.address = address
            until("Prefect's API at hand", made.answers, 60)
            yield made
    finally:
        if not keep:
            with TIMELINE.step("make kind-down"):
                made.make("kind-down")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no further test after E2E_UNTIL, in seconds since 1970: CI's time is limited."""
    until_then = float(os.environ.get("E2E_UNTIL", "inf"))
    if time.time() > until_then:
        pytest.skip("not begun: no time was left for it")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the timeline."""
    if TIMELINE.lines:
        terminalreporter.section("timeline: from the start, for how long")
        for line in TIMELINE.lines:
            terminalreporter.line(line)
