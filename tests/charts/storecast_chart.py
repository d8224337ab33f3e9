"""The platform's chart, as its tests render it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.charts.helm import CHARTS, Rendered, render

CHART = CHARTS / "storecast"
GIVEN = (
    "server.auth.password=prefect-secret",
    "postgresql.password=postgres-secret",
    "postgresql.tuningPassword=studies-secret",
    "s3.accessKey=s3-access",
    "s3.secretKey=s3-secret",
    "mlflow.auth.password=mlflow-secret-password",
    "mlflow.auth.flaskSecretKey=flask-secret-key-value",
    "mlflow.postgresql.password=mlflow-database-secret",
    "dashboard.users.password=dashboard-secret-password",
    "serving.keys.dashboard=sc_dashboard_0123456789abcdef0123456789abcdef",
    "serving.keys.runs=sc_runs_0123456789abcdef0123456789abcdef",
    "serving.keys.admin=sc_admin_0123456789abcdef0123456789abcdef",
)
EVERYTHING = (
    "metrics.enabled=true",
    "metrics.serviceMonitor.enabled=true",
    "metrics.dashboard.enabled=true",
    "ingress.enabled=true",
    "ingress.hosts.prefect=prefect.example.com",
    "httpRoute.enabled=true",
    "httpRoute.hosts.prefect=prefect.example.com",
    "httpRoute.parentRefs[0].name=public",
    "ingress.hosts.serving=forecasts.example.com",
    "httpRoute.hosts.serving=forecasts.example.com",
    "ingress.hosts.dashboard=dashboard.example.com",
    "httpRoute.hosts.dashboard=dashboard.example.com",
    "dashboard.replicas=2",
    "run.notify.existingSecret=people",
    "serving.tls.existingSecret=certificate",
    "serving.rateLimits.redis.existingSecret=redis",
)


def own(chart: Rendered) -> Rendered:
    """The objects of this chart alone, without those of MLflow's."""
    return Rendered(
        tuple(o for o in chart.objects if o["metadata"]["labels"]["app.kubernetes.io/name"] == "storecast")
    )


def installed(chart: Rendered) -> Rendered:
    """The objects that an install makes: all but hooks."""
    return Rendered(
        tuple(o for o in chart.objects if "helm.sh/hook" not in o["metadata"].get("annotations", {}))
    )


def platform(*settings: str) -> Any:
    """platform.yaml as the registration Job reads it."""
    return yaml.safe_load(
        render("storecast", *settings).one("ConfigMap", "storecast-platform")["data"]["platform.yaml"]
    )


def environment(container: Any) -> dict[str, Any]:
    """A container's own variables: a text, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def migration_name(chart: Rendered) -> str:
    """Name of the Job that migrates Prefect's database."""
    (name,) = (
        job["metadata"]["name"] for job in chart.of("Job") if "-prefect-migrate-" in job["metadata"]["name"]
    )
    return str(name)


def register_name(*settings: str) -> str:
    """Name of the registration Job."""
    (name,) = (
        job["metadata"]["name"]
        for job in render("storecast", *settings).of("Job")
        if "-register-" in job["metadata"]["name"]
    )
    return str(name)
