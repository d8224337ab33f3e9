"""The platform's chart: each value does something, and real services take the place of those here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, HelmError, Rendered, containers, render
from tests.charts.storecast_chart import own

CHART = CHARTS / "storecast"
# Templates that get a part of the values under a name of their own.
ALIASES = {
    "$pool": ["pools.cpu", "pools.gpu"],
    "$external": ["externalPostgresql"],
    ".image": [
        f"images.{name}"
        for name in ("component", "trainGpu", "serving", "dashboard", "prefect", "postgresql", "s3")
    ],
    "$scaling": ["serving.autoscaling"],
}
EXTERNAL = {
    "postgresql": (
        "postgresql.enabled=false",
        "externalPostgresql.host=db.example.com",
        "externalPostgresql.password=a b@/:%",
    ),
    "postgresql-secret": ("postgresql.enabled=false", "externalPostgresql.existingSecret=database"),
    "s3": (
        "s3.enabled=false",
        "externalS3.endpoint=https://s3.example.com:9000",
        "externalS3.accessKey=access",
        "externalS3.secretKey=secret",
    ),
    "s3-secret": ("s3.enabled=false", "externalS3.existingSecret=bucket"),
    "s3-role": ("s3.enabled=false", "run.serviceAccountAnnotations.role=forecaster"),
    "mlflow": (
        "mlflow.enabled=false",
        "externalMlflow.url=http://mlflow.mlops:5000",
        "externalMlflow.username=storecast",
        "externalMlflow.password=password-of-mlflow",
    ),
    "mlflow-secret": (
        "mlflow.enabled=false",
        "externalMlflow.url=https://mlflow.example.com",
        "externalMlflow.existingSecret=tracking",
    ),
    "prefect": (
        "server.enabled=false",
        "externalPrefect.apiUrl=https://prefect.example.com/api",
        "externalPrefect.authString=me:password-of-prefect",
    ),
    "prefect-secret": (
        "server.enabled=false",
        "externalPrefect.apiUrl=https://prefect.example.com/api",
        "externalPrefect.existingSecret=orchestrator",
    ),
}


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Dotted names of the values that are no maps, or are empty ones."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def references() -> set[str]:
    """Dotted names of values that some template takes, as a whole."""
    text = "\n".join(path.read_text() for path in CHART.glob("templates/**/*") if path.is_file())
    found = set(re.findall(r"\.Values\.([A-Za-z][\w.]*)", text))
    for alias, parts in ALIASES.items():
        names = re.findall(re.escape(alias) + r"\.([A-Za-z][\w.]*)", text)
        found |= {f"{part}.{name}" for part in parts for name in names}
    return found


def schema_at(schema: dict[str, Any], top: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The schema of a value by its dotted name; None where the schema does not name it."""
    for key in name.split("."):
        if "$ref" in schema:
            schema = top["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        extra = schema.get("additionalProperties")
        found = schema.get("properties", {}).get(key, extra if isinstance(extra, dict) else None)
        if found is None:
            return None
        schema = found
    return schema


def environment_secrets(chart: Rendered) -> list[str]:
    """Secrets whose keys the registration and the runs have as variables."""
    (register,) = (job for job in chart.of("Job") if "-register-" in job["metadata"]["name"])
    sources = register["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    names = [source["secretRef"]["name"] for source in sources if "secretRef" in source]
    text = chart.one("ConfigMap", "storecast-platform")["data"]["platform.yaml"]
    for pool in yaml.safe_load(text)["pools"].values():
        assert pool["envFrom"]["secrets"] == names
    return names


def test_every_value_is_used_by_a_template() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    used = references()
    # A template takes a documented map whole, so its name counts; a section of the values does not.
    sections = {name for leaf in leaves(values) for name in parents(leaf)} - taken_whole(values)
    unused = [
        name
        for name in leaves(values)
        if not ({name, *parents(name)} - sections) & used and not name.startswith("mlflow.")
    ]
    assert unused == []


def parents(name: str) -> list[str]:
    """Names above a dotted one: a.b.c has a and a.b."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def taken_whole(values: dict[str, Any]) -> set[str]:
    """Maps that are documented as one value."""
    text = (CHART / "README.md").read_text()
    return set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)) - set(values)


def test_templates_use_no_value_that_does_not_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    known = {part for leaf in leaves(values) for part in [leaf, *parents(leaf)]}
    # MLflow's values are its chart's; the generated secrets are kept beside the values while rendering.
    own = {name for name in references() if not name.startswith("mlflow.auth.") and name != "generated"}
    assert own - known == set()


def test_the_schema_knows_every_value_and_is_closed_at_every_level() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [name for name in leaves(values) if schema_at(schema, schema, name) is None] == []
    for name in {part for leaf in leaves(values) for part in parents(leaf)}:
        found = schema_at(schema, schema, name)
        assert found is not None
        found = schema["$defs"][found["$ref"].removeprefix("#/$defs/")] if "$ref" in found else found
        if name not in {"global", "mlflow"} and "properties" in found:
            assert found["additionalProperties"] is False, name
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_real_service_takes_the_place_of_the_one_in_the_cluster(name: str) -> None:
    service = name.partition("-")[0]
    chart = render("storecast", *EXTERNAL[name])
    names = {item["metadata"]["name"] for item in chart.of("Deployment", "StatefulSet", "Service")}
    gone = {
        "postgresql": "storecast-postgresql",
        "s3": "storecast-s3",
        "mlflow": "storecast-mlflow",
        "prefect": "storecast-prefect-server",
    }[service]
    assert gone not in names
    assert names >= {"storecast-prefect-worker-cpu", "storecast-prefect-worker-gpu"}
    assert [job for job in chart.of("Job") if "-register-" in job["metadata"]["name"]]


def test_an_external_database_is_reached_by_a_url_with_its_password_quoted() -> None:
    secret = render("storecast", *EXTERNAL["postgresql"]).one("Secret", "storecast-postgresql")["stringData"]
    assert secret == {
        "connection-url": "postgresql+asyncpg://prefect:a%20b%40%2F%3A%25@db.example.com:5432/prefect?ssl=require"
    }


@pytest.mark.parametrize("name", ["postgresql", "postgresql-secret"])
def test_whoever_connects_to_an_external_database_has_the_authority_of_its_certificate(name: str) -> None:
    verified = ("externalPostgresql.sslMode=verify-full", "externalPostgresql.caSecret=authority")
    chart = own(render("storecast", *EXTERNAL[name], *verified))
    asking = []
    for pod_name, pod in chart.pods():
        for container in containers(pod):
            found = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
            if "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in found:
                assert "PGSSLROOTCERT" not in found
                continue
            asking.append(container["name"])
            (mount,) = (m for m in container["volumeMounts"] if m["name"] == "database-ca")
            assert found["PGSSLROOTCERT"] == f"{mount['mountPath']}/ca.crt", pod_name
            (volume,) = (v["secret"] for v in pod["volumes"] if v["name"] == "database-ca")
            assert volume == {"secretName": "authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert sorted(asking) == ["migrate", "server", "wait-for-migration"]
    assert "database-ca" not in json.dumps(
        render("storecast", "externalPostgresql.caSecret=authority").objects
    )


@pytest.mark.parametrize(
    ("name", "secret"),
    [("s3-secret", "bucket"), ("mlflow-secret", "tracking")],
)
def test_keys_of_an_existing_secret_become_variables_of_runs(name: str, secret: str) -> None:
    assert environment_secrets(render("storecast", *EXTERNAL[name])) == ["storecast-run", secret]


def test_an_existing_secret_is_used_and_none_is_made_beside_it() -> None:
    chart = render(
        "storecast",
        "server.auth.existingSecret=mine",
        "postgresql.existingSecret=database",
        "s3.existingSecret=bucket",
        "run.existingSecrets[0]=tracking",
        "run.tuning.existingSecret=studies",
        "serving.keys.existingSecret=keys",
        "dashboard.users.existingSecret=people",
    )
    assert [s["metadata"]["name"] for s in chart.of("Secret") if "mlflow" not in s["metadata"]["name"]] == [
        "storecast-run"
    ]
    assert environment_secrets(chart) == ["storecast-run", "bucket", "studies", "tracking"]
    referred = {
        entry["valueFrom"]["secretKeyRef"]["name"]
        for _, pod in chart.pods()
        for container in containers(pod)
        for entry in container.get("env", [])
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    assert {name for name in referred if "mlflow" not in name} == {"mine", "database", "bucket"}


def test_runs_use_what_is_external() -> None:
    def variables(name: str) -> Any:
        return render("storecast", *EXTERNAL[name]).one("ConfigMap", "storecast-run")["data"]

    assert variables("s3")["AWS_ENDPOINT_URL"] == "https://s3.example.com:9000"
    assert "AWS_ENDPOINT_URL" not in variables("s3-role")
    assert variables("mlflow")["STORECAST_TRACKING_URI"] == "http://mlflow.mlops:5000"
    assert variables("prefect")["PREFECT_API_URL"] == "https://prefect.example.com/api"
    secret = render("storecast", *EXTERNAL["mlflow"]).one("Secret", "storecast-run")["stringData"]
    assert secret["MLFLOW_TRACKING_USERNAME"] == "storecast"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("postgresql.enabled=false", "externalPostgresql.host is empty"),
        (
            "postgresql.enabled=false,externalPostgresql.host=db,externalPostgresql.password=x,"
            "externalPostgresql.sslMode=verify-ca",
            "externalPostgresql.sslMode is verify-ca, but caSecret is empty",
        ),
        ("mlflow.enabled=false", "externalMlflow.url is empty"),
        ("server.enabled=false", "externalPrefect"),
        ("ingress.enabled=true", "ingress.hosts has none of prefect, serving and dashboard"),
        ("httpRoute.enabled=true", "httpRoute.hosts has none of prefect, serving and dashboard"),
        ("httpRoute.enabled=true,httpRoute.hosts.serving=a.example.com", "httpRoute.parentRefs is empty"),
        ("serving.autoscaling.minReplicas=5", "serving.autoscaling.maxReplicas is 3, but minReplicas is 5"),
        ("metrics.serviceMonitor.enabled=true", "metrics.enabled is false"),
        ("loop.dataset=store_sales", "loop.data is empty"),
        ("loop.data=/data", "at '/loop/data'"),
        ("loop.cron=daily", "at '/loop/cron'"),
    ],
)
def test_half_a_setting_is_refused_with_what_is_missing(setting: str, message: str) -> None:
    with pytest.raises(HelmError, match=message):
        render("storecast", setting)


def test_the_ui_is_published_over_tls_alone() -> None:
    chart = render("storecast", "ingress.enabled=true", "ingress.hosts.prefect=prefect.example.com")
    ingress = chart.one("Ingress", "storecast")["spec"]
    assert ingress["tls"] == [{"hosts": ["prefect.example.com"], "secretName": "storecast-tls"}]
    server = chart.one("Deployment", "prefect-server")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "PREFECT_SERVER_UI_API_URL", "value": "https://prefect.example.com/api"} in server["env"]


def test_prometheus_scrapes_the_server_with_its_basic_auth() -> None:
    chart = render("storecast", "metrics.enabled=true", "metrics.serviceMonitor.enabled=true")
    (endpoint,) = chart.one("ServiceMonitor", "prefect-server")["spec"]["endpoints"]
    assert endpoint["path"] == "/api/metrics"
    assert endpoint["basicAuth"]["password"] == {"name": "storecast-prefect", "key": "password"}
    secret = chart.one("Secret", "storecast-prefect")["stringData"]
    assert {"username", "password"} <= set(secret)


def test_the_grafana_dashboard_is_json_and_asks_for_metrics_that_are_published() -> None:
    chart = render("storecast", "metrics.enabled=true", "metrics.dashboard.enabled=true")
    config = chart.one("ConfigMap", "storecast-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["storecast.json"])
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b([a-z_]+)\{", target["expr"])
    }
    assert asked == {
        "up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
        "process_max_fds", "prefect_worker_channel_connections_total",
        "prefect_worker_channel_heartbeat_failures_total",
        *(f"storecast_serving_{name}" for name in (
            "requests_total", "request_seconds_bucket", "ready", "shed_total", "refusals_total",
            "swaps_total",
        )),
    }  # fmt: skip
