"""charts/mlflow's backup and restore where schema public is not the user's: before PostgreSQL 15."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.mlflow_chart import CHART

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
ROOT = os.geteuid() == 0
TABLES = """
CREATE TABLE runs (id serial PRIMARY KEY, name text);
CREATE TABLE metrics (id int GENERATED ALWAYS AS IDENTITY, run int REFERENCES runs);
CREATE VIEW names AS SELECT name FROM runs;
INSERT INTO runs (name) VALUES ('before');
"""

pytestmark = pytest.mark.skipif(
    not SERVERS or shutil.which("pg_restore") is None, reason="PostgreSQL is not installed"
)


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """Environment of MLflow's user, whose database has schema public and an extension of the superuser's."""
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
    environment = {
        **os.environ,
        "PGHOST": str(folder),
        "PGUSER": "mlflow",
        "DATABASES": "mlflow",
        "KEEP": "7",
    }
    try:
        for base, statement in (
            ("postgres", "CREATE ROLE mlflow LOGIN"),
            ("postgres", "CREATE DATABASE mlflow OWNER mlflow"),
            ("mlflow", "ALTER SCHEMA public OWNER TO postgres"),
            ("mlflow", "GRANT ALL ON SCHEMA public TO PUBLIC"),
            ("mlflow", "CREATE EXTENSION pg_stat_statements"),
        ):
            sql({**environment, "PGUSER": "postgres"}, statement, base)
        yield environment
    finally:
        command("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


def sql(environment: dict[str, str], statement: str, base: str = "mlflow") -> list[str]:
    """Lines that psql prints."""
    call = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", base, "-c", statement]
    return subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout.split()


def test_a_restore_needs_no_right_on_the_schema_and_takes_away_what_came_since(
    database: dict[str, str], tmp_path: Path
) -> None:
    def script(name: str, **more: str) -> None:
        folders = {"BACKUPS": str(tmp_path), "ARTIFACTS": str(tmp_path / "none")}
        subprocess.run(
            ["bash", str(CHART / "files" / name)], env={**database, **folders, **more}, check=True, timeout=60
        )

    sql(database, TABLES)
    script("backup.sh")
    sql(database, "CREATE TABLE newer (run int REFERENCES runs); INSERT INTO runs (name) VALUES ('since')")
    (backup,) = tmp_path.iterdir()
    script("restore.sh", FROM=backup.name)
    assert sql(database, "SELECT name FROM names") == ["before"]
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert sql(database, tables) == ["metrics", "runs"]
    sql(database, "INSERT INTO runs (name) VALUES ('after')")
