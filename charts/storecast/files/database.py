"""Prefect's database and its revision: database.py migrate | database.py wait.

migrate brings an older database to this image's revision; wait returns once the database has that revision.
Where STORECAST_TUNING_STORAGE is set, migrate then makes the role and the database that it names beside
Prefect's, for the studies of tunings, and gives the role the URL's password. Where that fails so does
migrate, but by then the revision is there, so that servers start.
A database whose revision this image does not know belongs to a newer one: the release was rolled back. Both
leave it as it is and go on, since going back a revision would drop what the newer one wrote.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg  # type: ignore[import-untyped]

State = Literal["absent", "older", "current", "newer"]


def revisions() -> tuple[frozenset[str], str]:
    """All revisions that this image's Prefect knows, and the last."""
    # Read as text: importing Prefect takes seconds, each time the wait looks.
    spec = importlib.util.find_spec("prefect")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("No package prefect in this image: use storecast/prefect")
    folder = Path(spec.submodule_search_locations[0], "server/database/_migrations/versions/postgresql")
    known: set[str] = set()
    passed: set[str] = set()
    for file in folder.glob("*.py"):
        text = file.read_text()
        known.update(re.findall(r"^revision\b[^=]*=\s*[\"'](\w+)", text, re.MULTILINE))
        if parents := re.search(r"^down_revision\b[^=]*=\s*(.+)$", text, re.MULTILINE):
            passed.update(re.findall(r"[\"'](\w+)", parents[1]))
    last = known - passed
    if len(last) != 1:
        sys.exit(f"Prefect's migrations in {folder} should end in one revision, but end in {sorted(last)}")
    return frozenset(known), last.pop()


@asynccontextmanager
async def connected() -> AsyncIterator[Any]:
    """A connection to Prefect's database."""
    parts = urlsplit(os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"])
    ssl = parse_qs(parts.query).get("ssl", ["prefer"])[0]
    plain = parts._replace(scheme="postgresql", query="").geturl()
    connection = await asyncpg.connect(plain, ssl=ssl, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def found() -> str | None:
    """The database's revision; None where it has none yet."""
    async with connected() as connection:
        try:
            row = await connection.fetchrow("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            return None
    return row[0] if row else None


async def make_studies(url: str) -> None:
    """The role of a URL with its password, and the database that it owns; Prefect's is closed to it."""
    parts = urlsplit(url)
    role, password, name = parts.username, unquote(parts.password or ""), parts.path.strip("/")
    async with connected() as connection:

        async def do(statement: str, *values: str | None) -> None:
            """A statement whose names (%I) and texts (%L) PostgreSQL itself quotes."""
            quoted = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", statement, values)
            await connection.execute(quoted)

        own = await connection.fetchval("SELECT current_database()")
        await do("REVOKE CONNECT ON DATABASE %I FROM PUBLIC", own)
        await connection.execute("SET log_min_error_statement = panic")  # a statement below has the password
        if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
            await do("CREATE ROLE %I", role)
        await do("ALTER ROLE %I LOGIN PASSWORD %L", role, password)
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            # template1 may be in use, or have the collations of another system's libraries.
            await do("CREATE DATABASE %I OWNER %I TEMPLATE template0", name, role)


def state(revision: str | None) -> State:
    """How the database stands to this image."""
    known, last = revisions()
    if revision is None:
        return "absent"
    if revision == last:
        return "current"
    return "older" if revision in known else "newer"


async def reach(goal: frozenset[State]) -> State:
    """Waits until the database answers and its state is one of some; says why it waits.

    Ends where the connection is configured wrongly: no waiting mends that.
    """
    said = ""
    while True:
        try:
            now = state(await found())
        except asyncpg.ClientConfigurationError as error:
            sys.exit(
                f"The connection to PostgreSQL is configured wrongly: {error}\n"
                "See externalPostgresql.sslMode and caSecret, or connection-url in its secret"
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The class and the server's words; the address with its password is in neither.
            message = f"PostgreSQL does not answer yet: {type(error).__name__}: {error}"
        else:
            if now in goal:
                return now
            message = f"Prefect's tables are {now}: waiting for the migration Job"
        if message != said:
            print(message, flush=True)
            said = message
        await asyncio.sleep(2)


def main(task: str) -> None:
    """Does one of the two tasks."""
    if task == "wait":
        print(f"Prefect's tables are {asyncio.run(reach(frozenset({'current', 'newer'})))}")
        return
    now = asyncio.run(reach(frozenset({"absent", "older", "current", "newer"})))
    print(f"Prefect's tables are {now}", flush=True)
    if now in {"absent", "older"}:
        upgrade = ["prefect", "server", "database", "upgrade", "--yes"]
        if status := subprocess.run(upgrade, check=False).returncode:  # noqa: S603
            sys.exit(f"Prefect's tables are not migrated: {' '.join(upgrade)} ended with status {status}")
    if url := os.environ.get("STORECAST_TUNING_STORAGE"):
        try:
            asyncio.run(make_studies(url))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            sys.exit(
                f"The database of studies is not made: {type(error).__name__}: {error}\n"
                "Prefect's tables are there and its server starts; only tuning in pods waits for this Job"
            )
        print("The database of studies is there", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
