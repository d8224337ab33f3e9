"""charts/mlflow's backup and restore where schema public is not the user's: before PostgreSQL 15."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.charts.mlflow_chart import CHART
from tests.charts.postgresql import NEEDED, postgresql, sql

TABLES = """
CREATE TABLE runs (id serial PRIMARY KEY, name text);
CREATE TABLE metrics (id int GENERATED ALWAYS AS IDENTITY, run int REFERENCES runs);
CREATE VIEW names AS SELECT name FROM runs;
INSERT INTO runs (name) VALUES ('before');
"""

pytestmark = NEEDED


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """Environment of MLflow's user, whose database has schema public and an extension of the superuser's."""
    with postgresql() as superuser:
        for base, statement in (
            ("postgres", "CREATE ROLE mlflow LOGIN"),
            ("postgres", "CREATE DATABASE mlflow OWNER mlflow"),
            ("mlflow", "ALTER SCHEMA public OWNER TO postgres"),
            ("mlflow", "GRANT ALL ON SCHEMA public TO PUBLIC"),
            ("mlflow", "CREATE EXTENSION pg_stat_statements"),
        ):
            sql(superuser, statement, base)
        yield {**superuser, "PGUSER": "mlflow", "DATABASES": "mlflow", "KEEP": "7"}


def script(name: str, database: Mapping[str, str], backups: Path, **more: str) -> None:
    """A script, as a pod runs it."""
    folders = {"BACKUPS": str(backups), "ARTIFACTS": str(backups / "none")}
    subprocess.run(
        ["bash", str(CHART / "files" / name)], env={**database, **folders, **more}, check=True, timeout=60
    )


def test_a_restore_needs_no_right_on_the_schema_and_takes_away_what_came_since(
    database: dict[str, str], tmp_path: Path
) -> None:
    sql(database, TABLES, "mlflow")
    script("backup.sh", database, tmp_path)
    sql(
        database,
        "CREATE TABLE newer (run int REFERENCES runs); INSERT INTO runs (name) VALUES ('since')",
        "mlflow",
    )
    (backup,) = tmp_path.iterdir()
    script("restore.sh", database, tmp_path, FROM=backup.name)
    assert sql(database, "SELECT name FROM names", "mlflow") == ["before"]
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert sql(database, tables, "mlflow") == ["metrics", "runs"]
    sql(database, "INSERT INTO runs (name) VALUES ('after')", "mlflow")


def test_a_restore_that_may_not_drop_something_leaves_all_of_it(
    database: dict[str, str], tmp_path: Path
) -> None:
    sql(database, "CREATE TABLE kept (id int)", "mlflow")
    script("backup.sh", database, tmp_path)
    (backup,) = tmp_path.iterdir()
    superuser = {**database, "PGUSER": "postgres"}
    sql(superuser, "CREATE SEQUENCE foreign_to_it", "mlflow")
    with pytest.raises(subprocess.CalledProcessError):
        script("restore.sh", database, tmp_path, FROM=backup.name)
    assert "kept" in sql(database, "SELECT tablename FROM pg_tables", "mlflow")
    sql(superuser, "DROP SEQUENCE foreign_to_it", "mlflow")
    sql(database, "DROP TABLE kept", "mlflow")
