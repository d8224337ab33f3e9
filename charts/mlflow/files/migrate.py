"""Brings the databases to what this MLflow needs: made, migrated, and with the administrator of the secret.

May run any number of times, also twice at once. Needs PGHOST, PGUSER, PGPASSWORD and so on, as libpq reads
them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import errors, sql

WAIT_SECONDS = 600
LOCK = 5_000_042  # any number, the same for all who migrate


def connect(database: str) -> Any:
    """A connection as soon as the database server answers."""
    deadline = time.monotonic() + WAIT_SECONDS
    said = ""
    while True:
        try:
            return psycopg2.connect(dbname=database)
        except psycopg2.OperationalError as error:
            message = str(error).strip()
            if "does not exist" in message or time.monotonic() > deadline:
                raise
            if message != said:
                print(f"waiting: {message}", flush=True)
                said = message
            time.sleep(2)


def ensure(database: str, maintenance: str) -> None:
    """Make a database that is missing."""
    try:
        connect(database).close()
    except psycopg2.OperationalError as error:
        if "does not exist" not in str(error):
            raise
        make(database, maintenance)


def make(database: str, maintenance: str) -> None:
    """Make a database, asked for through another one."""
    connection = connect(maintenance)
    connection.autocommit = True
    try:
        connection.cursor().execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        print(f"made the database {database}", flush=True)
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        pass
    except errors.InsufficientPrivilege:
        raise SystemExit(
            f"Database {database} does not exist, and user {os.environ['PGUSER']} may not make it: "
            f"have it made, owned by that user (CREATE DATABASE {database} OWNER {os.environ['PGUSER']})."
        ) from None
    finally:
        connection.close()


@contextmanager
def alone(database: str) -> Iterator[None]:
    """One migration at a time, whoever started it."""
    connection = connect(database)
    connection.autocommit = True
    try:
        connection.cursor().execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield
    finally:
        connection.close()


def migrate_tracking() -> None:
    """`mlflow db upgrade`."""
    from mlflow import db

    db.upgrade.main([os.environ["TRACKING_URI"]], standalone_mode=False)
    print("the tracking database is up to date", flush=True)


def migrate_auth() -> None:
    """The users' database, and the administrator with the secret's password.

    MLflow looks at the password only when it makes the administrator. A new secret (given, or generated again
    for volumes that were kept) must count all the same.
    """
    from mlflow.server import auth

    auth.bootstrap_admin_user()
    name = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"]
    password = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
    if not auth.store.authenticate_user(name, password):
        auth.store.update_user(name, password=password, is_admin=True)
        print(f"gave {name} the password of the secret", flush=True)
    print("the users' database is up to date", flush=True)


def main() -> None:
    """Make and migrate what the environment names."""
    tracking, users = os.environ["TRACKING_DATABASE"], os.environ.get("AUTH_DATABASE")
    ensure(tracking, "postgres")
    if users:
        ensure(users, tracking)
    with alone(tracking):
        migrate_tracking()
        if users:
            migrate_auth()


if __name__ == "__main__":
    main()
