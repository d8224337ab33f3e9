"""What Prefect and MLflow must find in the environment before they are imported."""

from __future__ import annotations

import os
import signal

from components import mlflow_tracking
from pipelines import stack
from storecast.settings import Settings


def prepare(settings: Settings) -> None:
    """Set the variables of Prefect and MLflow that the settings imply; what is set already stays.

    Runs go to the Prefect server that the settings name, or to the local stack's where it is up, or else
    to a server that Prefect starts in the background for this process, on the same database.
    """
    stack.prefect_home(settings).mkdir(parents=True, exist_ok=True)
    api = settings.prefect_api_url or stack.running(settings).get("prefect", "")
    if api:
        os.environ.setdefault("PREFECT_API_URL", api if api.endswith("/api") else f"{api}/api")
    if auth := settings.prefect_auth.get_secret_value():
        os.environ.setdefault("PREFECT_API_AUTH_STRING", auth)
    for name, value in {
        "PREFECT_HOME": str(stack.prefect_home(settings)),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        **mlflow_tracking.QUIET,
    }.items():
        os.environ.setdefault(name, value)


def start_prefect() -> None:
    """Start the server that Prefect would start for this process by itself, where no other is named.

    Ctrl-C goes to every process of a terminal. The server must live on to be told of the interrupted run; it
    is stopped at this process's end. A child inherits which signals are blocked.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.server.api.server import SubprocessASGIServer

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
