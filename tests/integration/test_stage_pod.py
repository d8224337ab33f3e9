"""The process of a stage's pod, against a real Prefect API: it does its stage, and ends when told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from orchestrator import runs
from pipelines import stage_flow
from pipelines.register import STAGE_COMMAND, register
from pipelines.stage_flow import ended_when_told
from pipelines.work_pools import PlatformConfig
from storecast.store import uri as uris

Found = TypeVar("Found")


@pytest.fixture(scope="module", autouse=True)
def _platform(prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    bucket = str(tmp_path_factory.mktemp("store") / "bucket")
    pools = {"cpu": {"image": "storecast/component:1"}}
    register(PlatformConfig.model_validate({"namespace": "shop", "workspace": bucket, "pools": pools}))


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def run_of(stage: str, result: Path, **arguments: str) -> FlowRun:
    """A run of a stage that waits for its pod."""
    parameters = {"stage": stage, "label": stage, "arguments": arguments, "result": str(result)}
    run = run_deployment("stage/cpu", parameters=parameters, timeout=0)
    assert isinstance(run, FlowRun)
    return run


@contextmanager
def pod(run: FlowRun, home: Path) -> Iterator[subprocess.Popen[str]]:
    """The command that the worker starts in a pod."""
    process = subprocess.Popen(
        [sys.executable, *STAGE_COMMAND.split()[1:]],
        env={
            **os.environ,
            "PREFECT__FLOW_RUN_ID": str(run.id),
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "STORECAST_HOME": str(home),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(find: Callable[[], Found | None], seconds: float = 90.0) -> Found:
    """What `find` gives as soon as it gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FlowRun]:
    """A run of a stage that waits without end: its config's store takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
        yield run_of("ingest", tmp_path / "result", dataset="s3://bucket/endless.yaml", data=str(tmp_path))


def state(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    """The run's state now."""
    found = client.read_flow_run(run.id).state
    assert found is not None
    return found


def test_the_worker_starts_a_stage_without_more_of_prefect_around_it(client: SyncPrefectClient) -> None:
    assert client.read_deployment_by_name("stage/cpu").job_variables == {"command": STAGE_COMMAND}
    assert "command" not in client.read_deployment_by_name("train/train").job_variables


def test_a_run_may_take_longer_than_each_of_its_stages(client: SyncPrefectClient) -> None:
    stage = client.read_work_pool("cpu").base_job_template["variables"]["properties"]
    for name in ("train", "demo", "tune", "partitioned", "watch", "retrain"):
        driver = client.read_deployment_by_name(f"{name}/{name}").job_variables
        assert driver == {"active_deadline_seconds": 604800}, name
        assert driver["active_deadline_seconds"] > stage["active_deadline_seconds"]["default"]


def test_it_does_its_stage_and_writes_what_was_made(client: SyncPrefectClient, tmp_path: Path) -> None:
    run = run_of("synthetic", tmp_path / "result", workspace=str(tmp_path / "store"))
    with pod(run, tmp_path / "home") as process:
        said, _ = process.communicate(timeout=120)
    assert (process.returncode, state(client, run).is_completed()) == (0, True), said
    assert uris.exists(uris.read_text(str(tmp_path / "result")).strip() + "/train.csv")


def test_a_cancelled_run_ends_its_process(
    client: SyncPrefectClient, tmp_path: Path, endless: FlowRun
) -> None:
    with pod(endless, tmp_path / "home") as process:
        until(lambda: state(client, endless).is_running())
        runs.cancel(str(endless.id))
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert state(client, endless).is_cancelled()


def test_a_run_cancelled_before_its_process_was_there_does_not_begin(
    client: SyncPrefectClient, tmp_path: Path, endless: FlowRun
) -> None:
    client.set_flow_run_state(endless.id, Cancelling(), force=True)
    with pod(endless, tmp_path / "home") as process:
        said, _ = process.communicate(timeout=60)
    assert state(client, endless).is_cancelled(), said


def test_a_process_told_to_go_says_that_it_crashed_so_that_another_follows(
    client: SyncPrefectClient, tmp_path: Path, endless: FlowRun
) -> None:
    with pod(endless, tmp_path / "home") as process:
        until(lambda: state(client, endless).is_running())
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode != 0, said
    assert state(client, endless).is_crashed()


@pytest.fixture
def told_by_exception() -> Iterator[Callable[[int, FrameType | None], None]]:
    """As within Prefect's engine: SIGTERM raises an exception wherever the process is."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise TerminationSignal(number)

    before = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, before)


def told_within_compiled_code() -> None:
    """As pydantic does it: an error of its own out of whatever was raised within it."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException as error:
        raise ValueError("could not build") from error


def test_being_told_to_go_is_told_as_such_whatever_a_library_makes_of_it(
    told_by_exception: Callable[[int, FrameType | None], None],
) -> None:
    with pytest.raises(TerminationSignal), ended_when_told():
        told_within_compiled_code()
    assert signal.getsignal(signal.SIGTERM) is told_by_exception


@pytest.mark.usefixtures("told_by_exception")
def test_a_stage_that_kept_it_to_itself_is_told_again() -> None:
    with pytest.raises(TerminationSignal), ended_when_told():
        with suppress(ValueError):
            told_within_compiled_code()
        until(lambda: False, seconds=30)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.usefixtures("told_by_exception")
def test_a_stage_that_puts_away_what_it_has_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_flow, "AGAIN_SECONDS", 0.05)
    put_away = False
    with pytest.raises(TerminationSignal), ended_when_told():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 0.5)
            put_away = True
    assert put_away


@pytest.mark.usefixtures("told_by_exception")
def test_an_error_of_the_stage_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="of its own"), ended_when_told():
        raise ValueError("of its own")
