"""A PostgreSQL of the tests' own, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
ROOT = os.geteuid() == 0
NEEDED = pytest.mark.skipif(
    not SERVERS or shutil.which("pg_restore") is None, reason="PostgreSQL is not installed"
)


@contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    """Environment of the superuser of a server that trusts everybody on its socket."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o755)
    if ROOT:  # as whom PostgreSQL refuses to run
        shutil.chown(folder, "postgres")

    def command(name: str, *arguments: str) -> None:
        call = [str(SERVERS[-1].with_name(name)), "--pgdata", str(folder / "data"), *arguments]
        subprocess.run(
            call, check=True, cwd=folder, stdout=subprocess.DEVNULL, user="postgres" if ROOT else None
        )

    command("initdb", "--username=postgres", "--auth=trust", "--no-sync")
    command("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", f"-c listen_addresses='' -k {folder}")
    try:
        yield {**os.environ, "PGHOST": str(folder), "PGUSER": "postgres"}
    finally:
        command("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


def sql(environment: Mapping[str, str], statement: str, base: str) -> list[str]:
    """Words that psql prints."""
    call = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", base, "-c", statement]
    return subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout.split()


@contextmanager
def open_session(environment: Mapping[str, str], base: str) -> Iterator[None]:
    """Somebody is connected to a database."""
    call = ["psql", "--no-psqlrc", "-qAt", "-d", base]
    with subprocess.Popen(call, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(b"SELECT 1;\n")
        session.stdin.flush()
        assert session.stdout.readline() == b"1\n"
        yield
        session.stdin.close()
