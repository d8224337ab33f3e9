"""The local stack for real: the servers over the files that a run in process wrote."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components import mlflow_tracking as tracking
from pipelines import stack
from serving.keys import KeyRing, keys_path
from storecast.errors import ConfigError
from storecast.settings import Settings

ROOT = Path(__file__).parents[2]
FLOW = """
import sys
from pathlib import Path
from pipelines import own_prefect
from pipelines.environment import prepare
from storecast.settings import Settings

prepare(Settings(home=Path(sys.argv[1])))
with own_prefect.prefect():
    from prefect import flow

@flow(name="before the stack")
def greet() -> str:
    return "hello"

greet()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((stack.HOST, 0))
        return int(probe.getsockname()[1])


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(home=tmp_path / "home")
    yield settings
    stack.down(settings)


def run_a_flow_in_process(settings: Settings) -> None:
    command = [sys.executable, "-c", FLOW, str(settings.home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr


def test_runs_made_before_the_stack_was_up_show_in_both_uis(settings: Settings, empty_home: Path) -> None:
    shutil.copytree(empty_home, settings.home)
    with tracking.run(settings, "toy", "before the stack", "key"):
        pass
    run_a_flow_in_process(settings)
    ports = {name: free_port() for name in ("prefect", "mlflow", "serving")}

    addresses = stack.up(settings, ports)

    assert addresses == {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with urllib.request.urlopen(addresses["serving"] + "/livez", timeout=30) as answer:
        assert answer.status == 200
    for name in ("prefect", "mlflow"):
        with urllib.request.urlopen(addresses[name], timeout=30) as page:
            assert b"<html" in page.read()
    flows = post(addresses["prefect"] + "/api/flows/filter", {})
    assert [flow["name"] for flow in flows] == ["before the stack"]
    experiments = post(addresses["mlflow"] + "/api/2.0/mlflow/experiments/search", {"max_results": 10})
    ids = [e["experiment_id"] for e in experiments["experiments"] if e["name"] == "toy"]
    runs = post(addresses["mlflow"] + "/api/2.0/mlflow/runs/search", {"experiment_ids": ids})["runs"]
    assert [run["info"]["run_name"] for run in runs] == ["before the stack"]

    url, key = stack.service(settings, "loop")
    assert url == addresses["serving"]
    found = KeyRing(keys_path(settings)).find(key.encode())
    assert found is not None
    assert (found.id, found.scopes) == ("loop", ("read",))
    assert found.expired(datetime.now(UTC) + timedelta(hours=2))

    assert stack.up(settings, dict.fromkeys(ports, 1)) == addresses
    assert stack.down(settings) == ["mlflow", "prefect", "serving"]
    assert stack.running(settings) == {}
    assert stack.service(settings, "loop") == ("", "")
    assert stack.down(settings) == []


def test_a_taken_port_is_named_with_the_option_that_chooses_another(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind((stack.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*(?s:.*)--mlflow-port"):
            stack.up(settings, {"prefect": free_port(), "mlflow": port, "serving": free_port()})
    assert stack.running(settings) == {}


def test_runner_and_dashboard_ask_the_local_service_each_with_a_key_of_its_own(settings: Settings) -> None:
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in stack.PORTS.items()}
    scopes = {"runner": {"read"}, "dashboard": {"read", "what-if"}}
    for name, wanted in scopes.items():
        given = stack._server(settings, name, addresses).environment
        assert given["STORECAST_SERVING_URL"] == addresses["serving"] == settings.service_url
        found = KeyRing(keys_path(settings)).find(given["STORECAST_SERVING_KEY"].encode())
        assert found is not None
        assert (found.id, set(found.scopes)) == (name, wanted)


def test_a_service_elsewhere_is_asked_with_the_key_that_the_settings_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, serving_url="https://forecasts.example.com/")
    assert settings.service_url == "https://forecasts.example.com"
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in stack.PORTS.items()}
    for name in ("runner", "dashboard"):
        given = stack._server(settings, name, addresses).environment
        assert not any(variable.startswith("STORECAST_SERVING") for variable in given)


def test_a_stale_pid_file_is_not_taken_for_a_running_server(settings: Settings) -> None:
    folder = settings.home / "run"
    folder.mkdir(parents=True)
    (folder / "mlflow.pid").write_text("1\nhttp://127.0.0.1:5000\n")
    assert stack.running(settings) == {}
    assert stack.down(settings) == []
