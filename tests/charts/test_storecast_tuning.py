"""The platform's chart: the database in which the pods of a tuning share its trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.charts.helm import CHARTS, Rendered, pod_spec, render
from tests.charts.postgresql import NEEDED, open_session, postgresql, sql
from tests.charts.storecast_chart import GIVEN, environment, migration_name
from tests.charts.test_storecast_network import RUN, allowed, part, side
from tests.charts.test_storecast_runs import outside
from tests.charts.test_storecast_values import EXTERNAL, environment_secrets

STORAGE = "STORECAST_TUNING_STORAGE"
ELSEWHERE = ("run.tuning.existingSecret=studies", "run.tuning.port=6432")


def storage(chart: Rendered) -> Any:
    """The URL that runs get from the chart; None: none."""
    return chart.one("Secret", "storecast-run")["stringData"].get(STORAGE)


def migration(chart: Rendered) -> Any:
    """The container that migrates Prefect's database."""
    return pod_spec(chart.one("Job", migration_name(chart)))["containers"][0]


def test_runs_share_studies_in_a_database_of_the_postgresql_here_without_more() -> None:
    chart = render("storecast")
    found = urlsplit(storage(chart))
    assert (found.scheme, found.username, found.path) == ("postgresql", "tuning", "/tuning")
    assert (found.hostname, found.port) == ("storecast-postgresql", 5432)
    assert len(found.password or "") == 32
    assert found.password != chart.one("Secret", "storecast-postgresql")["stringData"]["password"]
    assert allowed(chart, RUN, part("postgresql"), 5432)


def test_the_migration_makes_what_the_runs_url_names() -> None:
    reference = {"secretKeyRef": {"name": "storecast-run", "key": STORAGE}}
    assert environment(migration(render("storecast")))[STORAGE] == reference


def test_a_password_of_yours_is_quoted_and_another_one_is_set_by_another_job() -> None:
    one, same, another = (
        render("storecast", *GIVEN, f"postgresql.tuningPassword={password}")
        for password in ("a b@/:%", "a b@/:%", "another")
    )
    assert unquote(urlsplit(storage(one)).password or "") == "a b@/:%"
    assert migration_name(one) == migration_name(same) != migration_name(another)


def test_beside_a_secret_of_yours_the_password_of_studies_is_given() -> None:
    chart = render("storecast", "postgresql.existingSecret=database", "postgresql.tuningPassword=given")
    assert storage(chart).startswith("postgresql://tuning:given@")
    assert STORAGE in environment(migration(chart))


@pytest.mark.parametrize("name", ["", "postgresql", "prefect"])
def test_a_database_of_yours_is_named_by_a_secret_and_reached_on_its_port(name: str) -> None:
    chart = render("storecast", *ELSEWHERE, *EXTERNAL.get(name, ()))
    assert environment_secrets(chart) == ["storecast-run", "studies"]
    assert storage(chart) is None
    assert 6432 in outside(chart)
    assert not allowed(chart, RUN, part("postgresql"), 5432)
    if name != "prefect":
        assert STORAGE not in environment(migration(chart))


@pytest.mark.parametrize(
    "settings",
    [EXTERNAL["postgresql"], EXTERNAL["prefect"], ("postgresql.existingSecret=database",)],
    ids=["postgresql elsewhere", "prefect elsewhere", "a password of yours alone"],
)
def test_without_any_runs_get_no_url_and_no_way(settings: tuple[str, ...]) -> None:
    chart = render("storecast", *settings)
    assert storage(chart) is None
    ports = {entry["port"] for rule in side(chart, RUN, "egress") for entry in rule["ports"]}
    assert not {5432, "5432"} & ports


def test_the_role_gets_its_password_each_time_and_what_is_there_is_not_made_again() -> None:
    pytest.importorskip("asyncpg")
    code = """
import asyncio, contextlib, database

class Server:
    there = set()
    async def execute(self, statement):
        print(statement)
        if statement.startswith("CREATE"):
            self.there.add(statement.split()[1])
    async def fetchval(self, query, *values):
        if "format" in query:
            return values[0].replace("%I", "{}").replace("%L", "'{}'").format(*values[1])
        kinds = {"pg_roles": "ROLE", "pg_database": "DATABASE"}
        return next((k in self.there for name, k in kinds.items() if name in query), "prefect")

@contextlib.asynccontextmanager
async def connected():
    yield Server()

database.connected = connected
for password in ("one%40", "two"):
    asyncio.run(database.make_studies(f"postgresql://tuning:{password}@db:5432/tuning"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHARTS / "storecast" / "files",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    quiet = "SET log_min_error_statement = panic"
    closed = "REVOKE CONNECT ON DATABASE prefect FROM PUBLIC"
    assert done.stdout.splitlines() == [
        closed,
        quiet,
        "CREATE ROLE tuning",
        "ALTER ROLE tuning LOGIN PASSWORD 'one@'",
        "CREATE DATABASE tuning OWNER tuning TEMPLATE template0",
        closed,
        quiet,
        "ALTER ROLE tuning LOGIN PASSWORD 'two'",
    ]


@NEEDED
def test_prefects_tables_are_migrated_whether_or_not_the_database_of_studies_can_be_made(
    tmp_path: Path,
) -> None:
    pytest.importorskip("asyncpg")
    prefect = tmp_path / "prefect"
    tables = "CREATE TABLE alembic_version AS SELECT string_agg(datname, ' ') version_num FROM pg_database"
    prefect.write_text(f'#!/bin/sh\nexec psql -U postgres -d prefect -qc "{tables}"\n')
    prefect.chmod(0o755)

    def migrate(user: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(CHARTS / "storecast" / "files" / "database.py"), "migrate"],
            env={
                **server,
                "PATH": f"{tmp_path}:{server['PATH']}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{user}@/prefect",
                STORAGE: "postgresql://tuning:studies-secret@storecast-postgresql:5432/tuning",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    with postgresql() as server:
        sql(server, "CREATE ROLE limited LOGIN", "postgres")
        sql(server, "CREATE DATABASE prefect OWNER limited", "postgres")
        refused = migrate("limited")
        assert refused.returncode == 1
        assert "The database of studies is not made: InsufficientPrivilegeError" in refused.stderr
        assert "studies-secret" not in refused.stdout + refused.stderr
        at_the_time = sql(server, "SELECT version_num FROM alembic_version", "prefect")
        assert "prefect" in at_the_time
        assert "tuning" not in at_the_time

        with open_session(server, "template1"):
            made = migrate("postgres")
        assert made.returncode == 0, made.stderr
        studies = {**server, "PGUSER": "tuning"}
        sql(studies, "CREATE TABLE studies (id int)", "tuning")
        with pytest.raises(subprocess.CalledProcessError):
            sql(studies, "SELECT 1", "prefect")
