"""Servers for as long as they are measured."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import tree_peak
from storecast.settings import Settings

UNLIMITED = "100000000/minute"
RUN = (sys.executable, "-m", "pipelines.cli", "run")


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        port: where it answers.
        process: its first process; workers are below it.
        start: seconds from its start to ready.
        imports: seconds of that for what its processes import, twice in a row.
    """

    port: int
    process: subprocess.Popen[bytes]
    start: float
    imports: float


def storecast_run(options: Sequence[str], home: Path, good: Collection[int] = (0,)) -> tuple[float, int]:
    """`storecast run` in a home: its wall seconds, and the bytes of all its processes at their peak.

    Args:
        options: of the command.
        home: where it keeps everything.
        good: exit codes that go on; another one ends this process with it.
    """
    began = time.monotonic()
    with (
        subprocess.Popen([*RUN, *options], env={**os.environ, "STORECAST_HOME": str(home)}) as process,
        tree_peak(process.pid) as peak,
    ):
        code = process.wait()
    if code not in good:
        sys.exit(code)
    return time.monotonic() - began, peak.bytes


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """The service, ready."""
    said = {
        "STORECAST_HOME": str(settings.home),
        "STORECAST_SERVING_FOLDER": str(settings.serving_home),
        "STORECAST_SERVING_RATE_PER_KEY": UNLIMITED,
        "STORECAST_SERVING_RATE_PER_ADDRESS": UNLIMITED,
    }
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import bentoml, serving.service"], env=clean(said), check=True)
    imports = time.monotonic() - began
    port = free_port()
    began = time.monotonic()
    command = [sys.executable, "-m", "pipelines.cli", "serve", "--port", str(port)]
    with running(command, said, settings.serving_home / "service.log") as process:
        until(lambda: ready(port), 120)
        yield Served(port, process, time.monotonic() - began, 2 * imports)


@contextmanager
def running(command: Sequence[str], said: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server by its command, with variables, until the block ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=clean(said), stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def clean(said: dict[str, str]) -> dict[str, str]:
    """This process's variables without those of a service, and some more."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STORECAST_", "BENTOML_"))}
    return {**kept, **said}


def get(port: int, path: str, headers: dict[str, str]) -> bytes:
    """The body of a GET."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 (our own address)
        content: bytes = answer.read()
    return content


def ready(port: int) -> bool:
    """Whether a server says that it is."""
    try:
        return bool(get(port, "/readyz", {}) is not None)
    except OSError:
        return False


def until(check: Callable[[], bool], seconds: float) -> None:
    """Wait for something, or end the benchmark."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            sys.exit("a server did not answer in time")
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
