"""charts/mlflow's server, migration, garbage collection, backups."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.charts.helm import Rendered, containers, helm, render
from tests.charts.mlflow_chart import (
    CHART,
    EXTERNAL,
    GIVEN,
    OPTIONAL,
    RESTORE,
    S3,
    environment,
    migration_name,
    option,
    server,
)

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


def test_the_server_answers_to_its_own_names_only() -> None:
    names = ["mlflow", "mlflow.shop", "mlflow.shop.svc", "mlflow.shop.svc.cluster.local"]
    own = [host for name in names for host in (name, f"{name}:5000")]
    local = ["localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*"]
    assert option("allowed-hosts", release="mlflow").split(",") == [*own, *local]
    more = option("allowed-hosts", "server.allowedHosts={ml.example.com,10.0.0.1}").split(",")
    assert more[-2:] == ["ml.example.com", "10.0.0.1"]


def test_who_comes_through_the_ingress_or_the_gateway_may_use_the_page() -> None:
    settings = (
        "ingress.enabled=true",
        "ingress.host=a.example.com",
        *OPTIONAL[1:3],
        "gateway.host=b.example.com",
    )
    assert {"a.example.com", "b.example.com"} <= set(option("allowed-hosts", *settings).split(","))
    assert option("cors-allowed-origins", *settings) == "https://a.example.com,https://b.example.com"


def test_probes_ask_health_and_give_a_slow_start_minutes() -> None:
    found = server()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert found[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert found["startupProbe"]["periodSeconds"] * found["startupProbe"]["failureThreshold"] == 300


def test_a_volume_of_one_node_is_let_go_before_another_pod_takes_it() -> None:
    def strategy(*settings: str) -> str:
        return str(render("mlflow", *settings).one("Deployment", "mlflow")["spec"]["strategy"]["type"])

    assert strategy() == "Recreate"
    assert strategy(*S3) == "RollingUpdate"
    assert strategy("artifacts.volume.accessMode=ReadWriteMany") == "RollingUpdate"


def test_artifacts_on_s3_pass_through_the_server_with_keys_from_the_secret() -> None:
    settings = (*S3, "artifacts.s3.endpoint=http://s3:7070")
    assert option("artifacts-destination", *settings) == "s3://models/mlflow"
    found = environment(server(*settings))
    assert found["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "keys", "key": "access-key"}}
    assert found["MLFLOW_S3_ENDPOINT_URL"] == "http://s3:7070"
    assert (
        render("mlflow", *settings).one("NetworkPolicy", "to-s3")["spec"]["egress"][0]["ports"][0]["port"]
        == 7070
    )
    assert not [
        c for c in render("mlflow", *S3).of("PersistentVolumeClaim") if "artifacts" in c["metadata"]["name"]
    ]


def test_an_external_database_is_used_with_tls_and_no_own_one_is_made() -> None:
    objects = render(
        "mlflow", *EXTERNAL, "externalDatabase.caSecret=ca", "externalDatabase.sslMode=verify-full"
    )
    assert not objects.of("StatefulSet")
    idle = {"check", "backup-volume"}  # have nothing to do with it
    asking = [c for _, pod in objects.pods() for c in containers(pod) if c["name"] not in idle]
    for container in asking:
        found = environment(container)
        assert found["PGHOST"] == "db.example.com"
        assert found["PGSSLMODE"] == "verify-full"
        assert found["PGSSLROOTCERT"] == "/etc/mlflow-ca/ca.crt"
        assert found["PGPASSWORD"] == {"secretKeyRef": {"name": "db", "key": "password"}}
    assert environment(server(*EXTERNAL))["PGSSLMODE"] == "require"


# Migration


def test_the_migration_is_another_job_for_another_version_image_or_setting(tmp_path: Path) -> None:
    def name(chart: Path, *settings: str) -> str:
        text = helm(
            "template", "storecast", str(chart), *(p for s in (*GIVEN, *settings) for p in ("--set", s))
        )
        return migration_name(Rendered(tuple(o for o in yaml.safe_load_all(text) if o)))

    newer = tmp_path / "mlflow"
    shutil.copytree(CHART, newer)
    about = newer / "Chart.yaml"
    about.write_text(
        about.read_text(encoding="utf-8").replace("version: 0.1.0", "version: 0.2.0+b1", 1), encoding="utf-8"
    )
    names = {
        name(CHART),
        name(newer),
        name(CHART, "image.tag=other"),
        name(CHART, "migration.resources.limits.memory=3Gi"),
        name(CHART, *EXTERNAL),
    }
    assert len(names) == 5
    assert name(CHART).startswith("storecast-mlflow-migrate-0-1-0-")
    assert name(newer).startswith("storecast-mlflow-migrate-0-2-0-b1-")
    assert name(CHART, "server.replicas=1", "gc.enabled=false") == name(CHART)


def test_the_server_waits_for_the_schema_not_for_the_job() -> None:
    [waiting] = render("mlflow").one("Deployment", "mlflow")["spec"]["template"]["spec"]["initContainers"]
    assert waiting["command"] == ["python", "/etc/mlflow/wait.py", "600"]


def wait_script() -> ModuleType:
    """files/wait.py as a module."""
    spec = importlib.util.spec_from_file_location("mlflow_chart_wait", CHART / "files" / "wait.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_waiting_program_knows_the_newest_schema_as_alembic_does() -> None:
    alembic = pytest.importorskip("alembic.script")
    wait = wait_script()
    for folder, _ in wait.SCHEMAS.values():
        versions = wait.package() / folder
        newest, known = wait.revisions(versions)
        script = alembic.ScriptDirectory(str(versions.parent))
        assert [newest] == script.get_heads()
        assert newest in known


# Keeping order: garbage collection, backup, restore


def test_cleaning_and_backups_run_by_schedule_one_at_a_time_and_are_tidied_up() -> None:
    jobs = {item["metadata"]["name"]: item["spec"] for item in render("mlflow").of("CronJob")}
    assert jobs.keys() == {"storecast-mlflow-gc", "storecast-mlflow-backup"}
    for spec in jobs.values():
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["suspend"] is False
        assert spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] > 0
        assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0
    assert not render("mlflow", "gc.enabled=false", "backup.enabled=false").of("CronJob")


def test_garbage_collection_removes_artifacts_through_the_server() -> None:
    pods = dict(render("mlflow").pods())
    [container] = pods["CronJob/storecast-mlflow-gc"]["containers"]
    assert container["args"][:2] == ["gc", "--older-than=30d"]
    assert environment(container)["MLFLOW_TRACKING_URI"] == "http://storecast-mlflow:5000"
    assert "MLFLOW_TRACKING_PASSWORD" in environment(container)


def test_a_backup_of_the_volume_goes_to_the_node_that_has_it() -> None:
    objects = render("mlflow")
    pod = dict(objects.pods())["CronJob/storecast-mlflow-backup"]
    [rule] = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = objects.one("Deployment", "mlflow")["spec"]["template"]["metadata"]["labels"]
    assert rule["labelSelector"]["matchLabels"].items() <= labels.items()
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {c["metadata"]["name"] for c in objects.of("PersistentVolumeClaim")}
    assert "affinity" not in dict(render("mlflow", *S3).pods())["CronJob/storecast-mlflow-backup"]


def test_the_volume_of_the_backups_is_made_at_once_on_the_node_that_backups_will_use() -> None:
    objects = render("mlflow")
    pods = dict(objects.pods())
    [(name, pod)] = [(name, pod) for name, pod in pods.items() if "-backup-volume-" in name]
    backup = pods["CronJob/storecast-mlflow-backup"]
    assert name.startswith("Job/")
    assert (pod["affinity"], pod["volumes"]) == (backup["affinity"], backup["volumes"])
    assert "env" not in pod["containers"][0]
    assert len(render("mlflow", "backup.volume.existingClaim=ours").of("Job")) == 1


def test_a_restore_stops_all_else_and_starts_from_the_named_backup() -> None:
    objects = render("mlflow", RESTORE)
    assert objects.one("Deployment", "mlflow")["spec"]["replicas"] == 0
    assert all(job["spec"]["suspend"] for job in objects.of("CronJob"))
    [job] = objects.of("Job")
    assert environment(job["spec"]["template"]["spec"]["containers"][0])["FROM"] == "2026-11-23T02-00-00Z"
    assert job["metadata"]["name"].startswith("storecast-mlflow-restore-")
