"""The platform's chart: what an install makes of its values."""

from __future__ import annotations

import pytest

from pipelines.work_pools import PlatformConfig
from tests.charts.helm import HelmError, containers, pod_spec, render
from tests.charts.storecast_chart import (
    EVERYTHING,
    environment,
    migration_name,
    own,
    platform,
)


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
            "persistentVolumeClaim",
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


def test_only_workers_and_what_stops_their_runs_in_the_end_have_a_token_for_the_kubernetes_api() -> None:
    chart = own(render("storecast"))
    with_token = {name for name, pod in chart.pods() if pod["automountServiceAccountToken"]}
    assert with_token == {
        "Job/storecast-uninstall",
        "Deployment/storecast-prefect-worker-cpu",
        "Deployment/storecast-prefect-worker-gpu",
    }
    assert all(account["automountServiceAccountToken"] is False for account in chart.of("ServiceAccount"))


def test_a_worker_reads_pods_and_events_and_has_jobs_in_its_namespace_and_nothing_else() -> None:
    chart = own(render("storecast"))
    assert chart.of("ClusterRole", "ClusterRoleBinding") == []
    assert {role["metadata"]["name"] for role in chart.of("Role")} == {
        "storecast-worker",
        "storecast-uninstall",
    }
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


def test_an_uninstall_may_stop_runs_and_nothing_else() -> None:
    chart = render("storecast")
    assert chart.one("Role", "storecast-uninstall")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["deletecollection"]},
    ]


def test_an_uninstall_stops_runs_by_the_label_that_their_jobs_carry() -> None:
    job = render("storecast").one("Job", "storecast-uninstall")
    workers, runs = pod_spec(job)["containers"][0]["args"]
    assert workers.startswith("app.kubernetes.io/instance=storecast,")
    assert [runs.split("=")] == [list(pair) for pair in platform()["pools"]["cpu"]["podLabels"].items()]


def test_what_an_uninstall_needs_is_not_what_it_has_deleted_before() -> None:
    chart = own(render("storecast"))
    pod = pod_spec(chart.one("Job", "storecast-uninstall"))
    assert "priorityClassName" not in pod
    hooks = {
        (item["kind"], item["metadata"]["name"])
        for item in chart.objects
        if item["metadata"].get("annotations", {}).get("helm.sh/hook") == "post-delete"
    }
    assert ("ServiceAccount", pod["serviceAccountName"]) in hooks
    assert ("ConfigMap", pod["volumes"][0]["configMap"]["name"]) in hooks


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


def test_defaults_publish_nothing_and_pin_every_image() -> None:
    chart = render("storecast")
    assert chart.of("Ingress", "HTTPRoute", "ServiceMonitor") == []
    assert {service["spec"].get("type", "ClusterIP") for service in chart.of("Service")} == {"ClusterIP"}
    images = {container["image"] for _, pod in chart.pods() for container in containers(pod)}
    assert images >= {
        "storecast/prefect:0.1.0",
        "storecast/serving:0.1.0",
        "postgres:15",
        "versity/versitygw:v1.8.0",
    }
    assert not [image for image in images if image.endswith(":latest") or ":" not in image]


def test_a_registry_is_put_before_every_image() -> None:
    chart = own(render("storecast", "global.imageRegistry=registry.example.com/team/"))
    for name, pod in chart.pods():
        for container in containers(pod):
            assert container["image"].startswith("registry.example.com/team/"), name
    pools = platform("global.imageRegistry=registry.example.com/team")["pools"]
    assert pools["gpu"]["image"] == "registry.example.com/team/storecast/train-gpu:0.1.0"


def test_prefects_server_is_one_pod_and_no_disruption_budget_blocks_a_drain_for_it() -> None:
    chart = own(render("storecast", *EVERYTHING))
    assert chart.one("Deployment", "prefect-server")["spec"]["replicas"] == 1
    budgets = [budget["metadata"]["name"] for budget in chart.of("PodDisruptionBudget")]
    assert not [name for name in budgets if "prefect-server" in name]
    with pytest.raises(HelmError, match="additional properties 'replicas' not allowed"):
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


def test_platform_yaml_names_what_the_loop_watches_where_it_watches_something() -> None:
    found = platform("loop.dataset=store_sales", "loop.data=s3://raw")["loop"]
    assert found == {
        "dataset": "store_sales",
        "data": "s3://raw",
        "policy": "default",
        "cron": "0 5 * * *",
        "timezone": "UTC",
    }
    loop = PlatformConfig.model_validate(platform("loop.dataset=shop", "loop.data=s3://a/b")).loop
    assert loop is not None
    assert (loop.dataset, loop.data, loop.policy) == ("shop", "s3://a/b", "default")


def test_platform_yaml_has_what_the_registration_reads() -> None:
    found = platform()
    assert set(found) == {
        "namespace", "workspace", "heartbeatSeconds", "driverDeadlineSeconds", "pools", "training"
    }  # fmt: skip
    assert found["driverDeadlineSeconds"] > 24 * found["pools"]["cpu"]["activeDeadlineSeconds"]
    assert found["namespace"] == "shop"
    assert found["workspace"] == "s3://storecast/storecast"
    assert found["training"] == {"pendingDeadlineSeconds": 300, "gpuFallback": False}
    assert set(found["pools"]) == {"cpu", "gpu"}
    for pool in found["pools"].values():
        assert set(pool) == {
            "image", "imagePullPolicy", "imagePullSecrets", "concurrency", "serviceAccount", "envFrom",
            "resources", "nodeSelector", "tolerations", "gpu", "sharedMemory", "scratch", "priorityClass",
            "storeKeys",
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
