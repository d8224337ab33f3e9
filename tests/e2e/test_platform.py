"""The platform from `helm install` on, with a training run through the API of Prefect in between."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from cluster import RELEASE, Platform, command, until

RUN_SECONDS = 900.0
TUNING_SECONDS = 300.0
IMAGE = "storecast/component:0.1.0"
TMP = "/tmp"  # noqa: S108 - in the container


@pytest.fixture(scope="module")
def trained(platform: Platform) -> str:
    """A demo run, started through Prefect's API and ended well."""
    with platform.timeline.step("training run through Prefect's API: synthetic sales to a release"):
        run = platform.start("demo", training="smoke")
        platform.completed(run, RUN_SECONDS)
    return run


def test_a_run_trains_on_both_pools_and_ends_with_a_release(platform: Platform, trained: str) -> None:
    stages = platform.stages(trained)
    pools = {label: runs[-1]["work_pool_name"] for label, runs in stages.items()}
    lstm = {pool for label, pool in pools.items() if label.startswith("train lstm")}
    others = {pool for label, pool in pools.items() if label.startswith("train arima")}
    assert (lstm, others) == ({"gpu"}, {"cpu"})
    assert {"ingest", "features", "evaluate", "gate", "forecast", "release", "register", "activate"} <= set(
        stages
    )
    with platform.store() as files:
        pointer = files.read("storecast/storecast/releases/synthetic/current.json")
    assert json.loads(pointer)["current"].startswith("2023-07-31-")


def test_shards_ran_side_by_side(platform: Platform, trained: str) -> None:
    shards = [runs[-1] for label, runs in platform.stages(trained).items() if ", shard " in label]
    times = sorted((run["start_time"], run["end_time"]) for run in shards)
    assert any(second[0] < first[1] for first, second in pairwise(times)), times


def test_a_pod_costs_at_most_thirty_seconds_more_than_the_stage_itself(
    platform: Platform, trained: str
) -> None:
    overheads = {}
    for label, runs in platform.stages(trained).items():
        pod = platform.get("pods", f"prefect.io/flow-run-id={runs[-1]['id']}")
        if pod:
            created = datetime.fromisoformat(pod[0]["metadata"]["creationTimestamp"])
            overheads[label] = (datetime.fromisoformat(runs[-1]["start_time"]) - created).total_seconds()
    median = sorted(overheads.values())[len(overheads) // 2]
    platform.timeline.lines.append(
        f"{'':19}from a pod's creation to its stage's start: median {median:.0f} s"
    )
    assert median <= 30, overheads


def test_the_comparison_the_decision_and_the_way_to_mlflow_are_on_the_runs_page(
    platform: Platform, trained: str
) -> None:
    runs = [trained, *(str(r["id"]) for rs in platform.stages(trained).values() for r in rs)]
    wanted = {"artifacts": {"flow_run_id": {"any_": runs}}}
    artifacts = {a["key"]: a["data"] for a in platform.api("POST", "/artifacts/filter", wanted)}
    assert {row["model"] for row in json.loads(artifacts["comparison"])} >= {
        "naive",
        "arima",
        "lstm",
        "blend",
    }
    assert "#/experiments/" in artifacts["decision"]


def test_a_run_in_pods_releases_what_a_run_in_process_releases(
    platform: Platform, trained: str, tmp_path: Path
) -> None:
    del trained
    command(
        "docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", TMP, "--user", "0:0",
        "--volume", f"{tmp_path}:/work", "--env", "STORECAST_HOME=/work/home",
        "--env", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=180", "--entrypoint", "python", IMAGE,
        "-c", "from pipelines.demo import demo_flow; print(demo_flow(7, 'smoke'))",
        seconds=900,
    )  # fmt: skip
    [here] = (tmp_path / "home" / "releases" / "synthetic").glob("2023-07-31-*")
    with platform.store() as files:
        current = json.loads(files.read("storecast/storecast/releases/synthetic/current.json"))["current"]
        assert current == here.name


def test_a_tuning_in_two_pods_shares_its_trials_in_the_database_of_studies(
    platform: Platform, trained: str
) -> None:
    synthetic = platform.stages(trained)["synthetic"][-1]
    with platform.store() as files:
        raw = files.read(synthetic["parameters"]["result"]).strip()
    with platform.timeline.step("tuning of ARIMA in two pods, nothing set but the model and the data"):
        given = {"model": "arima", "dataset": "synthetic", "data": raw, "training": "smoke"}
        run = platform.start("tune", **given, trials=4, jobs=2, series=4)
        platform.completed(run, TUNING_SECONDS)
    assert {"ingest", "tune arima", "tune arima, worker 2", "report"} <= set(platform.stages(run))
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    artifacts = {a["key"]: a["data"] for a in platform.api("POST", "/artifacts/filter", wanted)}
    trials = json.loads(artifacts["trials"])
    assert len(trials) >= 4
    assert studies(platform, "SELECT count(*) FROM studies") == "1"
    done = studies(platform, "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')")
    assert int(done) >= len(trials)
    assert studies(platform, "SELECT has_database_privilege('tuning', 'prefect', 'CONNECT')") == "f"


def studies(platform: Platform, question: str) -> str:
    """What the database of studies answers."""
    psql = ("psql", "-U", "prefect", "-d", "tuning", "-Atc", question)
    return platform.kubectl("exec", f"{RELEASE}-postgresql-0", "-c", "postgresql", "--", *psql).strip()


def test_helm_test_passes(platform: Platform) -> None:
    with platform.timeline.step("helm test"):
        output = platform.helm("test", RELEASE)
    assert len(re.findall(r"Phase:\s+Succeeded", output)) >= 4
    assert "Failed" not in output


def test_a_worker_may_do_what_it_must_and_nothing_else(platform: Platform) -> None:
    account = f"system:serviceaccount:{platform.namespace}:{RELEASE}-worker"

    def may(verb: str, what: str) -> bool:
        words = ("auth", "can-i", verb, what, "--as", account, "--quiet")
        try:
            platform.kubectl(*words)
        except Exception:  # noqa: BLE001 - kubectl says no by its exit code
            return False
        return True

    assert all(
        may(*pair)
        for pair in [("create", "jobs"), ("watch", "pods"), ("get", "pods/log"), ("list", "events")]
    )
    denied = [
        ("get", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "nodes"),
        ("get", "configmaps"),
    ]
    assert not any(may(*pair) for pair in denied)


def test_an_upgrade_with_a_changed_value_and_a_rollback_take_effect(platform: Platform) -> None:
    def limit() -> int | None:
        queue = platform.api("GET", "/work_pools/cpu/queues/stages")
        return None if queue["concurrency_limit"] is None else int(queue["concurrency_limit"])

    before = limit()
    with platform.timeline.step("helm upgrade with a changed value"):
        change = ("--reuse-values", "--set", "pools.cpu.concurrency=3")
        platform.helm("upgrade", RELEASE, "charts/storecast", *change)
        until("the new limit", lambda: limit() == 3, 240, every=3)
    with platform.timeline.step("helm rollback"):
        platform.helm("rollback", RELEASE)
        until("the old limit", lambda: limit() == before, 240, every=3)
    until("every pod ready", platform.ready, 240, every=3)
