"""charts/mlflow as its tests look at it: its main shapes, its server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.charts.helm import CHARTS, Rendered, render

CHART = CHARTS / "mlflow"
GIVEN = (
    "auth.password=a-password-of-ours",
    "auth.flaskSecretKey=a-flask-key",
    "postgresql.password=a-db-password",
)
SECRETS = tuple(setting.split("=")[1] for setting in GIVEN)
EXTERNAL = (
    "postgresql.enabled=false",
    "externalDatabase.host=db.example.com",
    "externalDatabase.existingSecret=db",
)
S3 = ("artifacts.storage=s3", "artifacts.s3.bucket=models", "artifacts.s3.existingSecret=keys")
OPTIONAL = (
    "ingress.enabled=true",
    "gateway.enabled=true",
    "gateway.parentRefs[0].name=public",
    "metrics.enabled=true",
    "metrics.serviceMonitor.enabled=true",
)
RESTORE = "restore.from=2026-11-23T02-00-00Z"
VARIANTS = {
    "defaults": (),
    "external database": EXTERNAL,
    "S3": S3,
    "restore": (RESTORE,),
    "all options": (*EXTERNAL, *S3, *OPTIONAL, "server.replicas=2", "externalDatabase.caSecret=ca"),
    "no auth": ("auth.enabled=false",),
}


def server(*settings: str, release: str = "storecast") -> Mapping[str, Any]:
    """The server's container."""
    name = release if "mlflow" in release else f"{release}-mlflow"
    found: Mapping[str, Any] = render("mlflow", *GIVEN, *settings, release=release).one("Deployment", name)
    container: Mapping[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
    return container


def option(name: str, *settings: str, release: str = "storecast") -> str:
    """The value of an option of the server's command line."""
    [value] = [
        argument.split("=", 1)[1]
        for argument in server(*settings, release=release)["args"]
        if argument.startswith(f"--{name}=")
    ]
    return str(value)


def migration_name(objects: Rendered) -> str:
    """Name of the Job that migrates the databases."""
    [name] = [j["metadata"]["name"] for j in objects.of("Job") if "-migrate-" in j["metadata"]["name"]]
    return str(name)


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Names and values, or where a value comes from, of a container's environment."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
