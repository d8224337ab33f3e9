"""The local stack: Prefect and a runner for it, MLflow, the service of forecasts and the dashboard, over the
files that runs in process write.

`up` starts what is not running, as processes of their own, and waits until each answers; `down` stops them.
A server holds a lock on `<home>/run/<name>.pid` for as long as it lives, so that a process id which the
system gave to somebody else meanwhile is never taken for ours.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components import mlflow_client, mlflow_database
from dashboard import start as dashboard
from serving import keys, start
from storecast.errors import ConfigError, StoreError
from storecast.settings import Settings

HOST = "127.0.0.1"
PREFECT_PORT, RUNNER_PORT, MLFLOW_PORT, SERVING_PORT = 4200, 4201, 5000, start.PORT
DASHBOARD_PORT = dashboard.PORT
PORTS: Mapping[str, int] = {
    "prefect": PREFECT_PORT,
    "runner": RUNNER_PORT,
    "mlflow": MLFLOW_PORT,
    "serving": SERVING_PORT,
    "dashboard": DASHBOARD_PORT,
}
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 180.0, 20.0, 0.2


@dataclass(frozen=True)
class Server:
    """A server of the stack and how it is started."""

    name: str
    port: int
    health: str
    command: Sequence[str]
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"http://{HOST}:{self.port}"


def up(settings: Settings, ports: Mapping[str, int] = PORTS) -> dict[str, str]:
    """Start the servers that the settings do not place elsewhere; the address of each by name.

    A server that runs already is left as it is, on the port it has. The service of forecasts is up as soon as
    it answers; it waits for the first release by itself.

    Args:
        settings: where the home folder is and what lies elsewhere.
        ports: of the servers that are wanted. A Prefect server elsewhere has workers of its own: no runner.

    Raises:
        ConfigError: a port is taken by another program.
        StoreError: a server ended at once or did not answer in time.
    """
    addresses = running(settings)
    if settings.prefect_api_url:
        addresses["prefect"] = settings.prefect_api_url.removesuffix("/api")
    if settings.tracking_uri:
        addresses["mlflow"] = settings.tracking_uri
    if settings.serving_url:
        addresses["serving"] = settings.serving_url

    wanted = [
        _server(settings, name, {**_addresses(ports), **addresses})
        for name in ports
        if name not in addresses and not (name == "runner" and settings.prefect_api_url)
    ]
    for server in wanted:
        _refuse_taken_port(server)
    for server in wanted:
        _start(settings, server)
    for server in wanted:
        _wait(settings, server)
        addresses[server.name] = server.url
    return addresses


def down(settings: Settings) -> list[str]:
    """Stop the servers that `up` started; the names of those that ran."""
    names = []
    for file in sorted(settings.run_folder.glob("*.pid")):
        if _alive(file):
            _stop(file)
            names.append(file.stem)
        file.unlink(missing_ok=True)
    return names


def running(settings: Settings) -> dict[str, str]:
    """The address of each server that `up` started and that still lives, by name."""
    files = sorted(settings.run_folder.glob("*.pid"))
    return {file.stem: file.read_text().split()[1] for file in files if _alive(file)}


def prefect_home(settings: Settings) -> Path:
    """The PREFECT_HOME of runs in process and of the server: its SQLite database lies there."""
    return settings.home.absolute() / "prefect"


def _addresses(ports: Mapping[str, int]) -> dict[str, str]:
    return {name: f"http://{HOST}:{port}" for name, port in ports.items()}


def _server(settings: Settings, name: str, addresses: Mapping[str, str]) -> Server:
    """A server by its name, to be at its address, which knows the others' addresses."""
    port = int(addresses[name].rsplit(":", 1)[-1])
    if name == "runner":
        return _runner(settings, port, addresses["prefect"], addresses.get("serving", ""))
    if name == "dashboard":
        return _dashboard(settings, port, addresses["prefect"], addresses.get("serving", ""))
    make = {"prefect": _prefect, "mlflow": _mlflow, "serving": _serving}[name]
    return make(settings, port)


def _prefect(settings: Settings, port: int) -> Server:
    return Server(
        name="prefect",
        port=port,
        health="/api/health",
        command=["prefect", "server", "start", "--host", HOST, "--port", str(port)],
        environment={
            "PREFECT_HOME": str(prefect_home(settings)),
            "PREFECT_API_URL": f"http://{HOST}:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        },
    )


def _mlflow(settings: Settings, port: int) -> Server:
    mlflow_database.make(settings)
    artifacts = mlflow_client.artifact_root(settings).as_uri()
    return Server(
        name="mlflow",
        port=port,
        health="/health",
        command=[
            *("mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", mlflow_client.tracking_uri(settings)),
            *("--artifacts-destination", artifacts),
        ],
        environment={**mlflow_client.QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def _serving(settings: Settings, port: int) -> Server:
    (settings.serving_home / "draining").unlink(missing_ok=True)
    return Server(
        name="serving",
        port=port,
        health="/livez",
        command=start.command(settings, HOST, port)[1:],
        environment=start.environment(settings),
    )


def _runner(settings: Settings, port: int, prefect: str, serving: str) -> Server:
    return Server(
        name="runner",
        port=port,
        health="/health",
        command=["pipelines.local_runner"],
        environment={
            **_prefect_client(settings, prefect),
            **_service_client(settings, serving, "runner", ("read",)),
            **mlflow_client.QUIET,
            "PREFECT_RUNNER_SERVER_ENABLE": "true",
            "PREFECT_RUNNER_SERVER_HOST": HOST,
            "PREFECT_RUNNER_SERVER_PORT": str(port),
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "storecast",
        },
    )


def _dashboard(settings: Settings, port: int, prefect: str, serving: str) -> Server:
    return Server(
        name="dashboard",
        port=port,
        health=dashboard.HEALTH,
        command=dashboard.command(settings, HOST, port)[1:],
        environment={
            **_prefect_client(settings, prefect),
            **_service_client(settings, serving, "dashboard", ("read", "what-if")),
            **mlflow_client.QUIET,
            "STORECAST_PREFECT_API_URL": f"{prefect}/api",
        },
    )


def _prefect_client(settings: Settings, prefect: str) -> dict[str, str]:
    """What makes a process a client of the Prefect server at an address."""
    return {
        "PREFECT_HOME": str(prefect_home(settings)),
        "PREFECT_API_URL": f"{prefect}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _service_client(settings: Settings, serving: str, name: str, scopes: Sequence[str]) -> dict[str, str]:
    """What makes a process a client of the local service: a key of its own, made anew by each `up`.

    Where the settings place the service elsewhere, they name its key as well.
    """
    if settings.serving_url or not serving:
        return {}
    key = keys.create(keys.keys_path(settings), name, scopes, None)
    return {"STORECAST_SERVING_URL": serving, "STORECAST_SERVING_KEY": key}


def service(settings: Settings, name: str) -> tuple[str, str]:
    """Address of the local service, and a key for an hour with which `name` may read; "" while it is down."""
    url = running(settings).get("serving", "")
    expires = datetime.now(UTC) + timedelta(hours=1)
    return url, keys.create(keys.keys_path(settings), name, ("read",), expires) if url else ""


def _refuse_taken_port(server: Server) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port))
        except OSError as error:
            raise ConfigError(
                f"port {server.port}, which {server.name} is to have, is taken by another program",
                where=HOST,
                found=str(error),
                cure=f"stop that program, or choose a port: storecast up --{server.name}-port N",
            ) from error


def _start(settings: Settings, server: Server) -> None:
    """Start a server detached from this process and its terminal, its output going to a log file."""
    folder = settings.run_folder
    folder.mkdir(parents=True, exist_ok=True)
    log = str(folder / f"{server.name}.log")
    lock = os.open(folder / f"{server.name}.pid", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(lock, True)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", *server.command],
            {**os.environ, **server.environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        os.truncate(lock, 0)
        os.write(lock, f"{pid}\n{server.url}\n".encode())
    except BlockingIOError:
        return  # another `up` is starting it; wait for that one
    finally:
        os.close(lock)


def _wait(settings: Settings, server: Server) -> None:
    file = settings.run_folder / f"{server.name}.pid"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and _alive(file):
        if _answers(server.url + server.health):
            return
        time.sleep(POLL_SECONDS)
    log = file.with_suffix(".log")
    state = f"did not answer within {START_SECONDS:.0f} s" if _alive(file) else "ended at once"
    raise StoreError(
        f"the {server.name} server {state}",
        where=str(log),
        found="\n".join(log.read_text(errors="replace").splitlines()[-5:]),
        cure="see the log",
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (our own http address)
            return bool(answer.status == 200)
    except OSError:
        return False


def _alive(file: Path) -> bool:
    """Whether the server that a pid file names lives: it holds the file's lock until it ends."""
    with file.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _stop(file: Path) -> None:
    """End a server and its children (the process group it leads): politely, then by force."""
    pid = int(file.read_text().split()[0])
    for name, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        os.killpg(pid, name)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _alive(file):
                return
            time.sleep(POLL_SECONDS)
