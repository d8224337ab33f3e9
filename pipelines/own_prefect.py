"""A Prefect server of a command's own, where no other is named: python -m pipelines.own_prefect FD

Prefect would start one by itself, but its client first imports the whole server and then waits for the other
process to do the same. Here the server starts while the command imports what it needs, and the client learns
no more than its address. It lives in a session of its own, so that Ctrl-C, which goes to every process of a
terminal, leaves it to be told of the interrupted run; and it ends when whoever started it has ended, however
that came about: its standard input is a pipe that nobody else holds.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from storecast.errors import StoreError

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 300.0, 5.0


@contextmanager
def prefect() -> Iterator[None]:
    """Start the server unless PREFECT_API_URL names one; at the end of the block it answers.

    Prefect reads its settings when it is imported: where it has been, it stays with the server that it knows.
    What connects before the server is there waits: its socket listens from the beginning.

    Raises:
        StoreError: the server ended at once or did not answer in time.
    """
    if os.environ.get("PREFECT_API_URL") or "prefect" in sys.modules:
        yield
        return
    with socket.create_server((HOST, 0)) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}/api"
        server = subprocess.Popen(  # noqa: S603 (our own command)
            [sys.executable, "-m", "pipelines.own_prefect", str(listening.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            start_new_session=True,
            env={
                **os.environ,
                "PREFECT_SERVER_UI_ENABLED": "false",
                "PREFECT__SERVER_EPHEMERAL": "1",
                "PREFECT__SERVER_FINAL": "1",
            },
        )
    atexit.register(_stop, server)
    os.environ["PREFECT_API_URL"] = address
    yield
    try:
        urllib.request.urlopen(f"{address}/health", timeout=START_SECONDS).close()  # noqa: S310 (our own address)
    except OSError as error:
        raise StoreError(
            "the Prefect server of this command does not answer",
            where=os.environ.get("PREFECT_HOME", address),
            found=str(error),
            cure="see its words above; or name another server: STORECAST_PREFECT_API_URL",
        ) from error


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Let the server end as if this process had, and wait for that."""
    if server.stdin is not None:
        server.stdin.close()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> None:
    """Serve Prefect's API on an inherited socket until standard input ends."""
    import uvicorn

    threading.Thread(target=_end_with_input, daemon=True).start()
    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on"
    )
    uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[1]))])


def _end_with_input() -> None:
    while os.read(0, 1):  # by its number: a thread that waits in `sys.stdin` is in the way of an exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
