"""Where MLflow is, and what every call of it needs: a client, and errors that say what to do.

By default runs go to SQLite and files in the home folder; `tracking_uri` in the settings names a server.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components import mlflow_database
from storecast.errors import StoreError
from storecast.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What keeps mlflow from calling home and from talk of databases and git; it reads them when imported."""
for _variable, _value in QUIET.items():
    os.environ.setdefault(_variable, _value)


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs: the setting, or SQLite in the home folder."""
    return settings.tracking_uri or f"sqlite:///{mlflow_database.path(settings)}"


def page(settings: Settings, run_id: str) -> str:
    """Where a run is to be seen: the address of its page on a server, or the database and the run's id."""
    uri = tracking_uri(settings)
    if not uri.startswith("http"):
        return f"{uri} run {run_id}"
    with clear_errors(settings):
        experiment = connect(settings).get_run(run_id).info.experiment_id
    base = settings.tracking_page or uri
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def artifact_root(settings: Settings) -> Path:
    """Where artifacts lie when MLflow is the home folder's; a server has a place of its own."""
    return settings.home.absolute() / "mlartifacts"


def connect(settings: Settings) -> MlflowClient:
    """A client; importing mlflow takes seconds, so it happens here."""
    if token := settings.tracking_token.get_secret_value():
        os.environ["MLFLOW_TRACKING_TOKEN"] = token
    if not settings.tracking_uri:
        mlflow_database.make(settings)
    import mlflow.store.db.utils
    from mlflow import MlflowClient

    logging.getLogger(mlflow.store.db.utils.__name__).setLevel(
        logging.WARNING
    )  # which it sets to INFO itself
    return MlflowClient(tracking_uri(settings), registry_uri=tracking_uri(settings))


@contextmanager
def clear_errors(settings: Settings) -> Iterator[None]:
    """MLflow's errors as ours, without the credentials that a URI may hold."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise StoreError(
            "MLflow refused or could not be reached",
            where=masked(tracking_uri(settings)),
            found=masked(str(error)).splitlines()[0],
            cure="check tracking_uri (storecast config show), or unset it to keep runs in the home folder; "
            "where its database is broken, move that file away",
        ) from error


def served(settings: Settings) -> bool:
    """Whether MLflow is a server, which removes by itself what is marked as deleted."""
    return settings.tracking_uri.startswith("http")


def masked(text: str) -> str:
    """Text without the credentials of URIs in it."""
    return re.sub(r"//[^@/\s]+@", "//***@", text)
