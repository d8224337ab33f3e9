"""The scripts that the platform's pods wait and check with, run as the pods run them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.charts.helm import CHARTS

FILES = CHARTS / "storecast" / "files"
AUTH = "admin:right"
BASIC = "Basic " + base64.b64encode(AUTH.encode()).decode()
OPEN = ("/health", "/readyz")


@contextmanager
def api(
    answers: Mapping[str, Any],
    *,
    protected: bool = True,
    asked: list[str] | None = None,
    expected: str = BASIC,
) -> Iterator[str]:
    """An HTTP server whose paths answer with JSON; a tuple of answers is given one by one, None is a 404."""
    left = {path: list(answer) if isinstance(answer, tuple) else [answer] for path, answer in answers.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path
            if asked is not None:
                asked.append(f"{self.command} {path}")
            if protected and path not in OPEN and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.end_headers()
                return
            queue = left.get(path, [None])
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script, as a pod runs it."""
    return subprocess.run(
        [sys.executable, str(FILES / script), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def asked(url: str, auth: str = AUTH) -> dict[str, str]:
    """The environment of a pod that calls Prefect."""
    return {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": auth}


def test_a_worker_waits_until_its_pool_is_there() -> None:
    with api({"/work_pools/gpu": (None, {"name": "gpu"})}) as url:
        done = run("wait_for_pool.py", "gpu", **asked(url))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Prefect has no work pool gpu yet: waiting for the registration Job",
        "Prefect has the work pool gpu",
    ]


def test_a_worker_with_the_wrong_auth_string_says_so_without_telling_it() -> None:
    with api({}) as url:
        done = run("wait_for_pool.py", "gpu", **asked(url, "admin:wrong"))
    assert done.returncode == 1
    assert "do worker and server use the same secret?" in done.stderr
    assert "wrong" not in done.stdout + done.stderr


def test_a_prefect_that_answers_without_auth_fails_the_check() -> None:
    with api({"/admin/version": "3"}, protected=False) as url:
        done = run("check_prefect.py", **asked(url))
    assert done.returncode == 1
    assert done.stderr.strip() == "GET /admin/version without basic auth gave status 200, expected 401"


def test_a_prefect_that_asks_for_auth_passes_the_check() -> None:
    with api({"/admin/version": "3"}) as url:
        assert run("check_prefect.py", **asked(url)).returncode == 0


def test_a_database_whose_certificate_cannot_be_verified_ends_the_wait_with_the_values_to_see(
    tmp_path: Path,
) -> None:
    pytest.importorskip("asyncpg")
    url = "postgresql+asyncpg://prefect:right@127.0.0.1:1/prefect?ssl=verify-full"
    done = run("database.py", "wait", HOME=str(tmp_path), PREFECT_SERVER_DATABASE_CONNECTION_URL=url)
    assert done.returncode == 1
    assert "root.crt" in done.stderr
    assert "externalPostgresql.sslMode and caSecret" in done.stderr
    assert "right" not in done.stdout + done.stderr


def test_both_pools_need_a_worker_that_is_online() -> None:
    offline = [{"name": "old", "status": "OFFLINE"}]
    online = [*offline, {"name": "new", "status": "ONLINE"}]
    answers = {
        "/work_pools/cpu/workers/filter": online,
        "/work_pools/gpu/workers/filter": (offline, online),
    }
    with api(answers) as url:
        done = run("check_pools.py", "cpu", "gpu", **asked(url))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Pool cpu has a worker online",
        "No worker of pool gpu is online: see the log of its worker",
        "Pool gpu has a worker online",
    ]


def test_the_service_of_forecasts_is_asked_once_it_is_ready_with_the_admin_key() -> None:
    answers = {"/readyz": (None, {"release": "r"}), "/v1/releases/current": {"id": "2023-07-31-abc"}}
    with api(answers, expected="Bearer sc_admin_x") as url:
        done = run("check_serving.py", SERVING_URL=url, SERVING_KEY="sc_admin_x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "The service is ready and refuses strangers; release: 2023-07-31-abc"
    )


@pytest.mark.parametrize(
    ("protected", "key", "message"),
    [(False, "", "without a key gave status 200, expected 401"), (True, "sc_admin_y", "with the admin key")],
)
def test_a_service_that_lets_strangers_in_or_the_admin_not_fails_the_check(
    protected: bool, key: str, message: str
) -> None:
    answers = {"/readyz": {"release": "r"}, "/v1/releases/current": {"id": "r"}}
    with api(answers, protected=protected, expected="Bearer sc_admin_x") as url:
        done = run("check_serving.py", SERVING_URL=url, SERVING_KEY=key)
    assert done.returncode == 1
    assert message in done.stderr
    assert "sc_admin" not in done.stderr


@pytest.mark.parametrize("protected", [True, False])
def test_mlflow_is_asked_with_the_credentials_of_runs(protected: bool) -> None:
    answers = {"/health": "OK", "/api/2.0/mlflow/experiments/search": {"experiments": []}}
    user, _, password = AUTH.partition(":")
    with api(answers, protected=protected) as url:
        done = run(
            "check_mlflow.py",
            STORECAST_TRACKING_URI=url,
            **({"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password} if protected else {}),
        )
    assert done.returncode == 0, done.stderr


def test_runs_are_stopped_once_no_worker_can_make_more_and_their_end_is_waited_for(tmp_path: Path) -> None:
    for name in ("namespace", "token"):
        (tmp_path / name).write_text("shop")
    one, none = {"items": [{"metadata": {"name": "pod"}}]}, {"items": []}
    pods, jobs = "/api/v1/namespaces/shop/pods", "/apis/batch/v1/namespaces/shop/jobs"
    said: list[str] = []
    answers = {
        f"{pods}?labelSelector=a%3Dworker": (one, none),
        f"{pods}?labelSelector=a%3Drun": (one, none),
        f"{jobs}?labelSelector=a%3Drun&propagationPolicy=Background": {},
    }
    with api(answers, protected=False, asked=said) as url:
        done = run(
            "uninstall/stop_runs.py", "a=worker", "a=run", SERVICE_ACCOUNT=str(tmp_path), KUBERNETES_API=url
        )
    assert done.returncode == 0, done.stderr
    assert [line.split("?")[0] for line in said] == [f"GET {pods}"] * 2 + [f"DELETE {jobs}"] + [
        f"GET {pods}"
    ] * 2
    assert done.stdout.strip() == "No run is left"


def test_the_object_store_is_written_read_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "store" / "work" / "helm-test").mkdir(parents=True)
    done = run("check_s3.py", STORECAST_WORKSPACE=f"file://{tmp_path}/store")
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_last_revision_of_prefects_tables_is_found_without_importing_prefect() -> None:
    import importlib.util

    from alembic.script import ScriptDirectory

    pytest.importorskip("asyncpg")
    spec = importlib.util.find_spec("prefect.server.database._migrations.versions")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    versions = spec.submodule_search_locations[0]
    last = ScriptDirectory(versions, version_locations=[f"{versions}/postgresql"]).get_current_head()
    code = (
        "import database, json, sys; known, last = database.revisions();"
        "states = [database.state(name) for name in (None, sorted(known - {last})[0], last, 'unknown')];"
        "print(json.dumps([last, 'prefect' in sys.modules, states]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FILES, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [last, False, ["absent", "older", "current", "newer"]]
