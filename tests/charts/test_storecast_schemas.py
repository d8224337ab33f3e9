"""The platform's chart: what it makes are Kubernetes objects, and settings that Prefect knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.helm import containers, pod_spec, render
from tests.charts.storecast_chart import EVERYTHING, environment, own
from tests.charts.test_storecast_values import EXTERNAL

KUBERNETES = "1.34"
# Kinds of others, which Kubernetes has no schema of.
FOREIGN = {"HTTPRoute", "ServiceMonitor"}


@pytest.mark.parametrize(
    "settings",
    [(), EVERYTHING, *(EXTERNAL[name] for name in ("postgresql", "s3-role", "mlflow-secret", "prefect"))],
    ids=["defaults", "everything", "postgresql", "s3", "mlflow", "prefect"],
)
def test_every_object_is_valid_for_kubernetes(settings: tuple[str, ...]) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="needs the package kubernetes-validate")
    for item in render("storecast", *settings).objects:
        if item["kind"] not in FOREIGN:
            schemas.validate(item, KUBERNETES, strict=True)


def test_prefect_knows_every_setting_that_the_chart_gives_it() -> None:
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields

    chart = own(render("storecast"))
    given = set(chart.one("ConfigMap", "storecast-run")["data"])
    for _, pod in chart.pods():
        for container in containers(pod):
            given |= {entry["name"] for entry in container.get("env", [])}
    ours = {name for name in given if name.startswith("PREFECT_") and "_INTEGRATIONS_" not in name}
    assert len(ours) > 15
    assert ours - set(_get_settings_fields(Settings)) == set()


def test_prefects_kubernetes_worker_takes_the_settings_that_the_chart_gives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect_kubernetes.settings import KubernetesSettings  # type: ignore[import-untyped]

    worker = pod_spec(render("storecast").one("Deployment", "prefect-worker-gpu"))["containers"][0]
    for name, value in environment(worker).items():
        if "_INTEGRATIONS_" in name:
            monkeypatch.setenv(name, value)
    settings: Any = KubernetesSettings()
    worker_settings = settings.worker.model_dump()
    reference = [worker_settings[f"api_auth_string_secret_{part}"] for part in ("name", "key")]
    assert reference == ["storecast-prefect", "auth-string"]
    assert settings.observer.namespaces == {"shop"}
    assert settings.observer.additional_label_filters == {"prefect.io/work-pool-name": "gpu"}
