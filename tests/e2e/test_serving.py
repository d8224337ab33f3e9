"""The service on the cluster: right answers, as many pods as the load needs, and no request lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster import RELEASE, RELEASES, ROOT, Platform, until

RUN_SECONDS = 900.0
SERVICE = f"{RELEASE}-serving"
PODS = "app.kubernetes.io/component=serving"
LOAD = Path(__file__).with_name("load.py")


def ready_pods(platform: Platform) -> set[str]:
    """Names of the service's pods that take requests and are not about to go."""
    return {
        pod["metadata"]["name"]
        for pod in platform.get("pods", PODS)
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    }


def one_pod(platform: Platform) -> bool:
    """Whether there is one pod of the service, and none that is on its way in or out."""
    return len(platform.get("pods", PODS)) == 1


@pytest.fixture(scope="module")
def released(platform: Platform) -> list[str]:
    """Ids of two releases or more, the current one last; made here if there are none."""
    for seed in (108, 109):
        if len({entry["id"] for entry in platform.activations()}) < 2:
            with platform.timeline.step("a training run, for a release to serve"):
                platform.completed(platform.start("demo", seed=seed, training="smoke"), RUN_SECONDS)
    entries = [entry["id"] for entry in platform.activations()]
    return [*(i for i in dict.fromkeys(entries) if i != entries[-1]), entries[-1]]


@dataclass
class Users:
    """A pod that asks the service, and what it has counted."""

    platform: Platform
    totals: dict[str, int] = field(default_factory=dict)

    def rate(self, forecasts: int, what_ifs: int = 0) -> None:
        """How many requests a second there are to be from now on."""
        self.platform.kubectl("exec", "load", "--", "sh", "-c", f"echo {forecasts} {what_ifs} > /tmp/rate")

    def counts(self) -> dict[str, Any]:
        """What was counted so far; {} before the service has answered."""
        lines = self.platform.kubectl("logs", "load", "--tail=1").splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return found

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Note how requests end while something happens."""
        before = self.counts()
        with self.platform.timeline.step(what):
            yield
        after = self.counts()
        said = {
            n: after[n] - before.get(n, 0) for n in ("answered", "failed", "sent_again", "new_connections")
        }
        self.totals = {name: self.totals.get(name, 0) + count for name, count in said.items()}
        text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in said.items())
        because = {why: n - before.get("why", {}).get(why, 0) for why, n in after["why"].items()}
        reasons = f" {because}" if any(because.values()) else ""
        slow = f"p99 of the last 5,000: {after['p99_ms']} ms"
        self.platform.timeline.lines.append(f"{'':19}{text}{reasons}; {slow}")


def scale(platform: Platform, **settings: int) -> None:
    """Change how the number of the service's pods follows its load."""
    chosen = ",".join(f"serving.autoscaling.{name}={value}" for name, value in settings.items())
    platform.helm("upgrade", RELEASE, "charts/storecast", "--reuse-values", "--set", chosen)


@pytest.fixture(scope="module")
def users(platform: Platform, released: list[str]) -> Iterator[Users]:
    """The pod of users, over a service of as many pods as its load needs."""
    assert len(released) >= 2
    scale(platform, maxReplicas=3)
    platform.kubectl("rollout", "status", f"deployment/{SERVICE}", "--timeout=180s", seconds=200)
    platform.kubectl("create", "configmap", "load", f"--from-file={LOAD}")
    platform.kubectl("apply", "-f", str(ROOT / "tests" / "e2e" / "load.yaml"))
    made = Users(platform)
    try:
        platform.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=90s")
        until("the first count", made.counts, 90)
        yield made
    finally:
        platform.kubectl("delete", "pod/load", "configmap/load", "--grace-period=1")


def test_it_answers_with_the_forecasts_of_the_current_release(
    platform: Platform, released: list[str]
) -> None:
    import pandas as pd

    with platform.store() as files, files.fs.open(f"{RELEASES}/{released[-1]}/forecasts.parquet") as file:
        frame = pd.read_parquet(file)
    with platform.service() as client:
        until(
            "the current release in use",
            lambda: client.get("/v1/releases/current").json().get("id") == released[-1],
            60,
        )
        listed = client.get("/v1/series").json()["series"]
        answer = client.post("/v1/forecasts", json={"keys": [_key(series) for series in listed]}).json()
        strange = httpx.get(client.base_url.join("/v1/series"))
    served = {each["unique_id"]: each["yhat"] for each in answer["series"]}
    stored = {
        str(name): part.sort_values("ds")["yhat"].round(4).tolist()
        for name, part in frame.groupby("unique_id")
    }
    assert answer["release"] == released[-1]
    assert served == stored
    assert strange.status_code == 401


def test_no_request_fails_while_pods_come_are_replaced_die_and_go(platform: Platform, users: Users) -> None:
    rollout = f"deployment/{SERVICE}"
    with platform.timeline.step("forecasts: few users, one pod"):
        users.rate(10)
        until("one pod", lambda: one_pod(platform), 240)
    # Who asks takes more of the machine's two cores than who answers, so pods are to be many for little work.
    scale(platform, cpuPercent=60)
    users.rate(100, 10)
    with users.during("forecasts: from one pod to three under load"):
        until("three pods ready", lambda: len(ready_pods(platform)) == 3, 240)
    users.rate(40, 1)
    with users.during("forecasts: a rolling update of three pods"):
        platform.kubectl("rollout", "restart", rollout)
        platform.kubectl("rollout", "status", rollout, "--timeout=240s", seconds=260)
    with users.during("forecasts: a pod deleted"):
        platform.kubectl("delete", "pod", sorted(ready_pods(platform))[0])
        until("as many pods as before", lambda: len(ready_pods(platform)) >= 3, 120)
    assert set(users.counts()["why"]) <= {"status 503"}, "some were turned away, but no connection broke"
    with users.during("forecasts: a pod killed without notice"):
        platform.kubectl("delete", "pod", sorted(ready_pods(platform))[0], "--grace-period=0", "--force")
        until("as many pods as before", lambda: len(ready_pods(platform)) >= 3, 120)
    users.rate(3)
    with users.during("forecasts: from three pods to one"):
        # A slow machine's pods take near their share of it without a request.
        scale(platform, scaleDownSeconds=15, cpuPercent=500)
        until("one pod", lambda: one_pod(platform), 300)
    assert users.totals["failed"] == 0, users.counts()
    assert users.totals["answered"] > 5_000


def test_a_new_release_is_soon_in_use_by_every_pod(
    platform: Platform, users: Users, released: list[str]
) -> None:
    def activate(release: str) -> None:
        with platform.service() as client:
            client.post(f"/v1/releases/{release}/activate").raise_for_status()

    new, old = released[-2], released[-1]
    users.rate(20)
    until("answers of the current release", lambda: old in users.counts()["last"], 30)
    with users.during("forecasts: another release"):
        activate(new)
        moved = datetime.fromisoformat(platform.activations()[-1]["at"]).timestamp()

        def swapped() -> dict[str, float] | None:
            last: dict[str, float] = users.counts()["last"]
            return last if last.get(new, 0) > last[old] + 3 else None

        last = until("answers of the new release alone", swapped, 60)
    took = max(last[old] - moved, 0)
    platform.timeline.lines.append(
        f"{'':19}the last answer of the old release {took:.1f} s after the pointer"
    )
    activate(old)
    assert took <= 10
    assert users.totals["failed"] == 0, users.counts()
    assert time.time() > moved


def _key(series: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in series.items() if name != "unique_id"}
