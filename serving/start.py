"""How the service is started: BentoML's own command, its port, its workers, its files in the home folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from storecast.errors import ConfigError
from storecast.settings import Settings

HOST, PORT = "127.0.0.1", 3000
DRAIN_SECONDS = 20
"""How long requests that are under way may take after the process was told to stop."""


def command(settings: Settings, host: str, port: int) -> list[str]:
    """`bentoml serve ...`, as arguments of the Python interpreter.

    Raises:
        ConfigError: there is a certificate without its key, or the other way round.
    """
    made = ["-m", "bentoml", "serve", "serving.service:Forecasts", "--host", host, "--port", str(port)]
    made += ["--timeout-graceful-shutdown", str(DRAIN_SECONDS), "--timeout-keep-alive", "75"]
    certificate, key = settings.serving_certificate, settings.serving_certificate_key
    if (certificate is None) != (key is None):
        raise ConfigError(
            "TLS needs a certificate and its key",
            where="serving_certificate, serving_certificate_key",
            expected="both or none",
        )
    if certificate and key:
        made += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    return made


def environment(settings: Settings) -> Mapping[str, str]:
    """What BentoML is to find in the environment: a folder for its files, and that it reports to nobody."""
    return {"BENTOML_HOME": str(settings.home.absolute() / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}


def run(settings: Settings, host: str, port: int) -> None:
    """Become the service: this process is replaced, so that signals reach it."""
    settings.serving_home.mkdir(parents=True, exist_ok=True)
    (settings.serving_home / "draining").unlink(missing_ok=True)
    arguments = command(settings, host, port)
    os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, **environment(settings)})  # noqa: S606
