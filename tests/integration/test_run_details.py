"""What Prefect's API tells of runs, to the command line and the dashboard; against a real one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.testing.utilities import prefect_test_harness

from orchestrator import details, runs
from pipelines import local_runner
from pipelines.executor import stage_task
from pipelines.progress import Reporter
from storecast.errors import ConfigError, StoreError


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    """A Prefect API with the local runner's deployments."""
    with prefect_test_harness(server_startup_timeout=120):
        for deployment in local_runner.deployments():
            deployment.apply()
        yield


def test_a_run_tells_its_stages_shards_progress_log_and_verdict() -> None:
    report = Reporter()

    def fit(label: str) -> str:
        report(label, 0, 250)
        report(label, 250, 250)
        return "made"

    @flow(name="train", persist_result=False)
    def training() -> None:
        for label in ("ingest", "train arima at 2023-07-15, shard 2 of 8"):
            stage_task(fit, label, [])(label)
        get_run_logger().warning("nearly done")
        create_markdown_artifact(key="decision", markdown="- it beats the naive")

    run = str(training(return_state=True).state_details.flow_run_id)
    deadline = time.monotonic() + 60
    while True:  # Prefect writes stages and logs a little later
        found = details.details(run)
        done = [stage.state for stage in found.stages] == ["Completed", "Completed"]
        if done and any(line.text == "nearly done" for line in found.log):
            break
        assert time.monotonic() < deadline, found
    assert [(stage.stage, stage.shard, stage.progress) for stage in found.stages] == [
        ("ingest", "", 100.0),
        ("train arima at 2023-07-15", "2 of 8", 100.0),
    ]
    assert (found.flow, found.run.ended, found.verdict) == ("train", True, "- it beats the naive")
    assert run in {each.id for each in runs.latest()}


def test_what_a_run_can_be_given_is_told_as_its_deployment_says() -> None:
    schema, given = details.form_of("demo")
    assert {"seed", "training", "workspace", "pods"} == set(schema["properties"])
    assert given == {}
    with pytest.raises(StoreError, match=r"no deployment other/other(?s:.*)storecast up"):
        details.form_of("other")


def test_a_run_that_waits_is_listed_and_cancelled() -> None:
    run = runs.start("demo", {"seed": 3})
    assert not run.ended
    assert runs.latest()[0].id == run.id
    assert runs.cancel(run.id).state in {"Cancelling", "Cancelled"}
    assert details.details(run.id).parameters["seed"] == 3


def test_a_run_that_does_not_exist_is_refused_by_name() -> None:
    for wrong in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(ConfigError, match="no such run"):
            details.details(wrong)
