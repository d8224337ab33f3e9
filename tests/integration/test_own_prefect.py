"""The Prefect server that a command starts for itself: a real one, on a real database."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from serving_shop import eventually

DEADLINE = 120.0
COMMAND = """
import sys, time
from pipelines import own_prefect

with own_prefect.prefect():
    assert "prefect" not in sys.modules
    import prefect
from prefect.client.orchestration import get_client

with get_client(sync_client=True) as client:
    assert client.hello().status_code == 200
print(prefect.settings.PREFECT_API_URL.value(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment(empty_home: Path, tmp_path: Path) -> dict[str, str]:
    """Of a command whose home holds an empty Prefect database."""
    shutil.copy(empty_home / "prefect" / "prefect.db", tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def test_the_client_finds_it_and_it_ends_when_the_command_is_killed(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert _listens(address)
        process.kill()
    eventually(lambda: not _listens(address), DEADLINE, "the end of the server")


def test_what_is_wrong_with_it_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_bytes(b"no database" * 100)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "the Prefect server of this command does not answer" in done.stderr
    assert "file is not a database" in done.stderr


def test_a_server_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import own_prefect

    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    with own_prefect.prefect():
        assert os.environ["PREFECT_API_URL"] == "http://prefect.example/api"


def _listens(address: str) -> bool:
    port = int(address.strip().rsplit(":", 1)[-1].split("/")[0])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
