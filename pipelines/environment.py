"""What Prefect and MLflow must find in the environment before they are imported."""

from __future__ import annotations

import os

from components import mlflow_client
from pipelines import stack
from storecast.settings import Settings


def prepare(settings: Settings) -> None:
    """Set the variables of Prefect and MLflow that the settings imply; what is set already stays.

    Runs go to the Prefect server that the settings name, or to the local stack's where it is up, or else
    to one that `own_prefect` starts for this command, on the same database.
    """
    stack.prefect_home(settings).mkdir(parents=True, exist_ok=True)
    api = settings.prefect_api_url or stack.running(settings).get("prefect", "")
    if api:
        os.environ.setdefault("PREFECT_API_URL", api if api.endswith("/api") else f"{api}/api")
    if auth := settings.prefect_auth.get_secret_value():
        os.environ.setdefault("PREFECT_API_AUTH_STRING", auth)
    for name, value in {
        "PREFECT_HOME": str(stack.prefect_home(settings)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        **mlflow_client.QUIET,
    }.items():
        os.environ.setdefault(name, value)
