"""The platform's chart: what an install makes of its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, HelmError, Rendered, containers, helm, pod_spec, render

CHART = CHARTS / "storecast"
GIVEN = (
    "server.auth.password=prefect-secret",
    "postgresql.password=postgres-secret",
    "s3.accessKey=s3-access",
    "s3.secretKey=s3-secret",
    "mlflow.auth.password=mlflow-secret-password",
    "mlflow.auth.flaskSecretKey=flask-secret-key-value",
    "mlflow.postgresql.password=mlflow-database-secret",
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
    "server.replicas=2",
    "server.extraEnv.PREFECT_MESSAGING_BROKER=prefect_redis.messaging",
)


def own(chart: Rendered) -> Rendered:
    """The objects of this chart alone, without those of MLflow's."""
    return Rendered(
        tuple(o for o in chart.objects if o["metadata"]["labels"]["app.kubernetes.io/name"] == "storecast")
    )


def platform(*settings: str) -> Any:
    """platform.yaml as the registration Job reads it."""
    return yaml.safe_load(
        render("storecast", *settings).one("ConfigMap", "storecast-platform")["data"]["platform.yaml"]
    )


def environment(container: Any) -> dict[str, Any]:
    """A container's own variables: a text, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


@pytest.mark.parametrize("settings", [(), EVERYTHING], ids=["defaults", "everything"])
def test_every_pod_meets_the_restricted_pod_security_standard(settings: tuple[str, ...]) -> None:
    for name, pod in own(render("storecast", *settings)).pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] >= 999, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"} <= {
            "emptyDir",
            "configMap",
            "secret",
        }, name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, f"{name}/{container['name']}"


def test_every_container_says_what_it_asks_for_and_how_much_memory_it_may_take() -> None:
    for name, pod in own(render("storecast")).pods():
        for container in containers(pod):
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, f"{name}/{container['name']}"
            assert "memory" in resources["limits"], f"{name}/{container['name']}"


def test_the_whole_platform_asks_for_less_than_a_core() -> None:
    asked = 0
    for kind in ("Deployment", "StatefulSet"):
        for item in render("storecast").of(kind):
            for container in pod_spec(item)["containers"]:
                asked += int(container["resources"]["requests"]["cpu"].removesuffix("m"))
    assert asked <= 600


def test_only_workers_have_a_token_for_the_kubernetes_api() -> None:
    chart = own(render("storecast"))
    with_token = {name for name, pod in chart.pods() if pod["automountServiceAccountToken"]}
    assert with_token == {
        "Deployment/storecast-prefect-worker-cpu",
        "Deployment/storecast-prefect-worker-gpu",
    }
    assert all(account["automountServiceAccountToken"] is False for account in chart.of("ServiceAccount"))


def test_a_worker_reads_pods_and_events_and_has_jobs_in_its_namespace_and_nothing_else() -> None:
    chart = own(render("storecast"))
    assert chart.of("ClusterRole", "ClusterRoleBinding") == []
    assert [role["metadata"]["name"] for role in chart.of("Role")] == ["storecast-worker"]
    assert chart.one("Role", "worker")["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["batch"],
            "resources": ["jobs"],
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        },
    ]
    assert chart.one("RoleBinding", "worker")["subjects"] == [
        {"kind": "ServiceAccount", "name": "storecast-worker", "namespace": "shop"}
    ]


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_a_worker_waits_for_its_pool_and_does_not_make_it(pool: str) -> None:
    pod = pod_spec(render("storecast").one("Deployment", f"prefect-worker-{pool}"))
    assert pod["initContainers"][0]["command"] == [
        "python",
        "/etc/storecast/scripts/wait_for_pool.py",
        pool,
    ]
    worker = pod["containers"][0]
    assert f"--pool={pool}" in worker["args"]
    assert "--no-create-pool-if-not-found" in worker["args"]
    assert environment(worker)["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == "shop"


def test_run_pods_get_the_auth_string_by_reference_from_the_worker() -> None:
    worker = pod_spec(render("storecast").one("Deployment", "prefect-worker-cpu"))["containers"][0]
    reference = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_"
    given = {name: value for name, value in environment(worker).items() if name.startswith(reference)}
    assert given == {f"{reference}NAME": "storecast-prefect", f"{reference}KEY": "auth-string"}


def test_the_server_has_auth_vacuum_and_no_analytics_and_leaves_migration_to_the_job() -> None:
    chart = render("storecast")
    pod = pod_spec(chart.one("Deployment", "prefect-server"))
    server = pod["containers"][0]
    variables = environment(server)
    assert variables["PREFECT_SERVER_API_AUTH_STRING"] == {
        "secretKeyRef": {"name": "storecast-prefect", "key": "auth-string"}
    }
    assert variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == {
        "secretKeyRef": {"name": "storecast-postgresql", "key": "connection-url"}
    }
    assert variables["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "false"
    assert pod["initContainers"][0]["command"][-2:] == ["/etc/storecast/scripts/database.py", "wait"]
    migration = pod_spec(chart.one("Job", migration_name(chart)))["containers"][0]
    assert migration["command"][-2:] == ["/etc/storecast/scripts/database.py", "migrate"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/api/ready"
    assert {server[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {
        "/api/health"
    }


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


def test_the_registration_runs_again_when_what_it_writes_changes_and_only_then() -> None:
    before = register_name(*GIVEN)
    assert before == register_name(*GIVEN, "server.resources.requests.cpu=300m")
    assert before != register_name(*GIVEN, "pools.cpu.concurrency=8")
    assert before != register_name(*GIVEN, "images.component.tag=0.2.0")
    assert before != register_name(*GIVEN, "workspace=s3://other/storecast")


def test_a_job_whose_spec_changes_gets_another_name_since_its_spec_is_immutable() -> None:
    before = {
        job["metadata"]["name"]: job["spec"] for job in own(render("storecast", "s3.size=1Gi")).of("Job")
    }
    for setting in (
        "jobs.ttlSecondsAfterFinished=90",
        "global.imageRegistry=registry.example.com",
        "global.imagePullSecrets[0]=registry",
        "priorityClasses.create=false",
        "jobs.resources.requests.cpu=75m",
    ):
        for job in own(render("storecast", setting)).of("Job"):
            name = job["metadata"]["name"]
            assert before.get(name, job["spec"]) == job["spec"], f"{setting} changes the spec of Job {name}"


def test_names_of_a_long_release_fit_in_labels() -> None:
    long = render("storecast", release="a-release-name-of-fifty-three-characters-storecast-xy")
    for item in own(long).of("Job", "Deployment", "Service"):
        assert len(item["metadata"]["name"]) <= 63, item["metadata"]["name"]
    for item in own(long).of("StatefulSet"):  # whose pods carry it with a hash as a label
        assert len(item["metadata"]["name"]) <= 52, item["metadata"]["name"]


def test_jobs_go_by_themselves_and_nothing_is_kept_after_an_uninstall() -> None:
    chart = render("storecast", *EVERYTHING)
    for item in own(chart).objects:
        annotations = item["metadata"].get("annotations", {})
        assert "helm.sh/resource-policy" not in annotations
        if "helm.sh/hook" in annotations:
            assert annotations["helm.sh/hook"] == "test"
            assert {"hook-succeeded", "hook-failed"} <= set(
                annotations["helm.sh/hook-delete-policy"].split(",")
            )
    for job in own(chart).of("Job"):
        assert job["spec"]["ttlSecondsAfterFinished"] > 0


def test_given_the_secrets_two_renderings_are_the_same() -> None:
    def text() -> str:
        settings = [part for setting in GIVEN for part in ("--set", setting)]
        return helm("template", "storecast", str(CHART), *settings)

    assert text() == text()


def test_a_generated_secret_is_the_same_wherever_it_is_used() -> None:
    chart = render("storecast")
    run = chart.one("Secret", "storecast-run")["stringData"]
    prefect = chart.one("Secret", "storecast-prefect")["stringData"]
    s3 = chart.one("Secret", "storecast-s3")["stringData"]
    mlflow = chart.one("Secret", "mlflow-auth")["stringData"]
    postgresql = chart.one("Secret", "storecast-postgresql")["stringData"]
    assert run["PREFECT_API_AUTH_STRING"] == prefect["auth-string"]
    assert prefect["auth-string"] == f"{prefect['username']}:{prefect['password']}"
    assert len(prefect["password"]) == 32
    assert {key: run[key] for key in s3} == s3
    assert run["MLFLOW_TRACKING_USERNAME"] == mlflow["username"]
    assert run["MLFLOW_TRACKING_PASSWORD"] == mlflow["password"]
    assert f":{postgresql['password']}@storecast-postgresql:5432/" in postgresql["connection-url"]


def test_no_secret_is_in_anything_but_secrets() -> None:
    values = {setting.partition("=")[2] for setting in GIVEN}
    for item in render("storecast", *GIVEN, *EVERYTHING).objects:
        if item["kind"] != "Secret":
            text = json.dumps(item)
            assert not [value for value in values if value in text], item["metadata"]["name"]


def test_defaults_publish_nothing_and_pin_every_image() -> None:
    chart = render("storecast")
    assert chart.of("Ingress", "HTTPRoute", "ServiceMonitor") == []
    assert {service["spec"].get("type", "ClusterIP") for service in chart.of("Service")} == {"ClusterIP"}
    images = {container["image"] for _, pod in chart.pods() for container in containers(pod)}
    assert images >= {"storecast/prefect:0.1.0", "postgres:15", "versity/versitygw:v1.8.0"}
    assert not [image for image in images if image.endswith(":latest") or ":" not in image]


def test_a_registry_is_put_before_every_image() -> None:
    chart = own(render("storecast", "global.imageRegistry=registry.example.com/team/"))
    for name, pod in chart.pods():
        for container in containers(pod):
            assert container["image"].startswith("registry.example.com/team/"), name
    pools = platform("global.imageRegistry=registry.example.com/team")["pools"]
    assert pools["gpu"]["image"] == "registry.example.com/team/storecast/train-gpu:0.1.0"


def test_one_server_has_no_disruption_budget_since_it_would_block_a_drain() -> None:
    assert own(render("storecast")).of("PodDisruptionBudget") == []
    budget = own(render("storecast", *EVERYTHING)).one("PodDisruptionBudget", "prefect-server")
    assert budget["spec"]["maxUnavailable"] == 1


def test_several_servers_without_shared_messaging_are_refused() -> None:
    with pytest.raises(HelmError, match="several servers lose events unless they share messaging"):
        render("storecast", "server.replicas=2")


def test_training_is_of_lower_priority_than_what_serves() -> None:
    chart = render("storecast")
    serving = chart.one("PriorityClass", "storecast-serving")
    training = chart.one("PriorityClass", "storecast-training")
    assert training["value"] < 0 < serving["value"]
    assert training["preemptionPolicy"] == "Never"
    assert platform()["pools"]["cpu"]["priorityClass"] == "storecast-training"
    without = ("priorityClasses.create=false", "priorityClasses.training=batch")
    assert render("storecast", *without).of("PriorityClass") == []
    assert platform(*without)["pools"]["gpu"]["priorityClass"] == "batch"


def test_platform_yaml_has_what_the_registration_reads() -> None:
    found = platform()
    assert set(found) == {"namespace", "workspace", "pools", "training"}
    assert found["namespace"] == "shop"
    assert found["workspace"] == "s3://storecast/storecast"
    assert found["training"] == {"pendingDeadlineSeconds": 300, "gpuFallback": False}
    assert set(found["pools"]) == {"cpu", "gpu"}
    for pool in found["pools"].values():
        assert set(pool) == {
            "image", "imagePullPolicy", "imagePullSecrets", "concurrency", "serviceAccount", "envFrom",
            "resources", "nodeSelector", "tolerations", "gpu", "sharedMemory", "scratch", "priorityClass",
            "ttlSecondsAfterFinished", "activeDeadlineSeconds", "podLabels",
        }  # fmt: skip
        assert pool["envFrom"] == {"configMaps": ["storecast-run"], "secrets": ["storecast-run"]}
        assert pool["serviceAccount"] == "storecast-run"
    assert found["pools"]["cpu"]["gpu"] == {"resource": "nvidia.com/gpu", "count": 0}
    assert found["pools"]["gpu"]["gpu"] == {"resource": "nvidia.com/gpu", "count": 1}


def test_a_pool_without_a_limit_has_concurrency_null() -> None:
    assert platform("pools.cpu.concurrency=null")["pools"]["cpu"]["concurrency"] is None


def test_run_pods_know_where_everything_is() -> None:
    data = render("storecast").one("ConfigMap", "storecast-run")["data"]
    assert data["STORECAST_WORKSPACE"] == "s3://storecast/storecast"
    assert data["AWS_ENDPOINT_URL"] == "http://storecast-s3:7070"
    assert data["STORECAST_TRACKING_URI"] == "http://storecast-mlflow:5000"
    assert data["PREFECT_API_URL"] == "http://storecast-prefect-server:4200/api"
    assert (data["HOME"], data["STORECAST_HOME"], data["PREFECT_HOME"]) == (
        "/work",
        "/work/home",
        "/work/prefect",
    )


def test_a_release_of_another_name_carries_the_charts_name() -> None:
    names = {item["metadata"]["name"] for item in own(render("storecast", release="demo")).objects}
    assert {name.startswith("demo-storecast") for name in names} == {True}


def test_a_changed_configuration_restarts_the_server() -> None:
    def checksums(*settings: str) -> Any:
        server = render("storecast", *GIVEN, *settings).one("Deployment", "prefect-server")
        return server["spec"]["template"]["metadata"]["annotations"]

    assert checksums() == checksums("s3.size=20Gi")
    assert checksums() != checksums("server.auth.password=another")
    assert checksums() != checksums("postgresql.password=another")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sever.replicas=1", "additional properties 'sever' not allowed"),
        ("server.auth.pasword=x", "at '/server/auth': additional properties 'pasword' not allowed"),
        (
            "pools.gpu.tolerance=x",
            "at '/pools/gpu': additional properties 'tolerance' not allowed",
        ),
        ("workspace=/data", "at '/workspace'"),
        ("pools.gpu.gpu.count=0", "at '/pools/gpu/gpu/count'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting: str, message: str) -> None:
    with pytest.raises(HelmError, match=re.escape(message)):
        render("storecast", setting)


def test_helm_finds_nothing_to_complain_about() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_a_new_version_of_the_chart_alone_restarts_no_server_and_no_database() -> None:
    for item in own(render("storecast")).of("Deployment", "StatefulSet"):
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert labels == item["spec"]["selector"]["matchLabels"], item["metadata"]["name"]


def test_the_notes_name_the_next_three_commands_and_no_secret() -> None:
    folder = Path(CHART)
    text = (folder / "templates" / "NOTES.txt").read_text()
    commands = [line for line in text.splitlines() if line.startswith("  ")]
    assert [command.split()[0] for command in commands] == ["helm", "kubectl", "curl", "kubectl"]
    assert "password }}" not in text
