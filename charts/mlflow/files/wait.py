"""Waits until the databases have the schema that this MLflow needs.

Without importing MLflow, which takes many seconds: the newest revision is the one that no other migration
builds on, and the database tells its own. Needs PGHOST, PGUSER, PGPASSWORD and so on, as libpq reads them.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Environment variable with the database's name: (folder of the migrations, table of the revision).
SCHEMAS = {
    "TRACKING_DATABASE": ("store/db_migrations/versions", "alembic_version"),
    "AUTH_DATABASE": ("server/auth/db/migrations/versions", "alembic_version_auth"),
}


def package() -> Path:
    """Where MLflow is installed."""
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        raise SystemExit("MLflow is not installed in this image: use storecast/mlflow.")
    return Path(spec.origin).parent


def constants(source: str) -> dict[str, object]:
    """Module-level names with plain values, among them alembic's revision and down_revision."""
    found: dict[str, object] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = ast.literal_eval(node.value)
    return found


def revisions(folder: Path) -> tuple[str, set[str]]:
    """The newest revision of a folder of alembic migrations, and all of them."""
    known: set[str] = set()
    below: set[str] = set()
    for path in folder.glob("*.py"):
        names = constants(path.read_text(encoding="utf-8"))
        if isinstance(revision := names.get("revision"), str):
            known.add(revision)
            down = names.get("down_revision")
            below.update([down] if isinstance(down, str) else down if isinstance(down, tuple) else [])
    heads = known - below
    if len(heads) != 1:
        raise SystemExit(
            f"{folder} should have one newest migration, not {sorted(heads)}: is the image whole?"
        )
    return heads.pop(), known


def current(database: str, table: str) -> str | None:
    """The revision of a database, None before its first migration."""
    import psycopg2  # type: ignore[import-untyped]

    connection = psycopg2.connect(dbname=database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", (table,))
            if cursor.fetchone() == (None,):
                return None
            cursor.execute(f"SELECT version_num FROM {table}")  # noqa: S608
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def obstacles() -> Iterator[str]:
    """What is still missing, in words; ends the program where waiting cannot help."""
    import psycopg2

    for variable, (folder, table) in SCHEMAS.items():
        if not (database := os.environ.get(variable)):
            continue
        newest, known = revisions(package() / folder)
        try:
            revision = current(database, table)
        except psycopg2.OperationalError as error:
            yield f"database {database} cannot be reached: {str(error).strip()}"
            continue
        if revision is not None and revision not in known:
            raise SystemExit(
                f"Database {database} has schema {revision}, which this MLflow does not know (it knows up to "
                f"{newest}): a newer MLflow has migrated it. Use the newer image again, or restore a backup "
                "made before that upgrade."
            )
        if revision != newest:
            yield f"database {database} has schema {revision}, not yet {newest}: see the migration Job"


def main() -> None:
    """Wait until nothing is missing, at most the given number of seconds."""
    deadline = time.monotonic() + float(sys.argv[1])
    said: list[str] = []
    while missing := list(obstacles()):
        if missing != said:
            print("\n".join(f"waiting: {line}" for line in missing), flush=True)
            said = missing
        if time.monotonic() > deadline:
            raise SystemExit(f"Still so after {sys.argv[1]} s. The migration Job's log says more.")
        time.sleep(2)
    print("the schema is up to date", flush=True)


if __name__ == "__main__":
    main()
