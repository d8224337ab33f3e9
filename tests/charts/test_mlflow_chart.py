"""charts/mlflow as helm renders it."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, HelmError, Rendered, containers, helm, render

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")

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


@pytest.fixture(params=list(VARIANTS.values()), ids=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> Rendered:
    """The chart in each of its main shapes."""
    return render("mlflow", *GIVEN, *request.param)


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


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Names and values, or where a value comes from, of a container's environment."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted paths of all values."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in {"requests", "limits"}:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key


# Names and the outline


def test_helm_lint_finds_nothing_even_when_strict() -> None:
    helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize(
    ("release", "name"), [("storecast", "storecast-mlflow"), ("mlflow", "mlflow"), ("my-mlflow", "my-mlflow")]
)
def test_the_service_is_named_after_the_release(release: str, name: str) -> None:
    objects = render("mlflow", release=release)
    assert [s["metadata"]["name"] for s in objects.of("Service")] == [f"{name}-postgresql", name]
    assert objects.one("Service", name if name == release else "mlflow")["spec"]["ports"][0]["port"] == 5000
    assert objects.one("Secret", "auth")["metadata"]["name"] == f"{name}-auth"


def test_a_long_release_name_gives_names_that_kubernetes_takes() -> None:
    objects = render("mlflow", *OPTIONAL, *EXTERNAL, *S3, release="a" * 53)
    again = render("mlflow", release="a" * 52 + "b")
    for item in [*objects.objects, *again.objects]:
        longest = 52 if item["kind"] in {"CronJob", "StatefulSet"} else 63
        assert len(item["metadata"]["name"]) <= longest, item["metadata"]["name"]
    names = {(o["kind"], o["metadata"]["name"]) for o in objects.objects}
    assert not names & {(o["kind"], o["metadata"]["name"]) for o in again.objects}


def test_nothing_is_a_hook_but_the_test(variant: Rendered) -> None:
    hooks = {
        item["kind"]: item["metadata"]["annotations"]["helm.sh/hook"]
        for item in variant.objects
        if "helm.sh/hook" in item["metadata"].get("annotations", {})
    }
    assert hooks == {"Pod": "test"}


def test_only_volumes_outlive_the_release(variant: Rendered) -> None:
    kept = {
        item["kind"]
        for item in variant.objects
        if item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept <= {"PersistentVolumeClaim"}
    claims = variant.of("PersistentVolumeClaim")
    assert all("keep" in c["metadata"]["annotations"].values() for c in claims)


def test_the_same_values_give_the_same_objects() -> None:
    command = ["template", "storecast", str(CHART), *(part for s in GIVEN for part in ("--set", s))]
    assert helm(*command) == helm(*command)


def test_generated_secrets_are_the_same_wherever_they_are_used_in_one_rendering() -> None:
    first, second = (
        helm("template", name, str(CHART), "--namespace", "shop") for name in ("storecast", "storecast")
    )
    passwords = [re.findall(r'^  password: "(\w{24})"$', text, re.M) for text in (first, second)]
    assert len(passwords[0]) == 2
    assert not set(passwords[0]) & set(passwords[1])


# Security


def test_every_pod_is_restricted(variant: Rendered) -> None:
    for name, pod in variant.pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] in {999, 10001}, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert not any("hostPath" in volume for volume in pod["volumes"]), name


def test_every_container_is_restricted_and_has_resources(variant: Rendered) -> None:
    for name, pod in variant.pods():
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


def test_every_mount_has_its_volume_and_every_container_a_writable_tmp(variant: Rendered) -> None:
    for name, pod in variant.pods():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        if name.startswith("StatefulSet/"):
            volumes["data"] = {"persistentVolumeClaim": {}}
        used = set()
        for container in containers(pod):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert "emptyDir" in volumes[mounts["/tmp"]["name"]], name  # noqa: S108
            used |= {mount["name"] for mount in mounts.values()}
        assert used == volumes.keys(), name


def test_no_secret_is_in_a_config_map_an_argument_or_the_plain_environment(variant: Rendered) -> None:
    for item in variant.objects:
        if item["kind"] != "Secret":
            assert not [secret for secret in SECRETS if secret in yaml.safe_dump(dict(item))], item[
                "metadata"
            ]["name"]


def test_users_are_asked_for_their_password_by_default() -> None:
    assert option("app-name") == "basic-auth"
    found = environment(server())
    for variable, key in (
        ("MLFLOW_AUTH_ADMIN_USERNAME", "username"),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "password"),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY", "flask-secret-key"),
    ):
        assert found[variable] == {"secretKeyRef": {"name": "storecast-mlflow-auth", "key": key}}


def test_users_have_a_database_of_their_own() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(render("mlflow").one("ConfigMap", "config")["data"]["basic_auth.ini"])
    users = parser["mlflow"]["database_uri"]
    assert users == "postgresql+psycopg2://storecast-mlflow-postgresql:5432/mlflow_auth"
    assert option("backend-store-uri") == users.replace("mlflow_auth", "mlflow")
    assert not {"admin_username", "admin_password"} & parser["mlflow"].keys()


def test_without_auth_there_is_no_secret_of_it_and_pods_do_not_change_at_every_rendering() -> None:
    first = render("mlflow", "auth.enabled=false", "postgresql.password=p")
    again = render("mlflow", "auth.enabled=false", "postgresql.password=p", "gc.enabled=true")
    assert "--app-name=basic-auth" not in server("auth.enabled=false")["args"]
    assert not [s for s in first.of("Secret") if s["metadata"]["name"].endswith("auth")]
    assert first.one("Deployment", "mlflow") == again.one("Deployment", "mlflow")
    assert first.one("Job", first.of("Job")[0]["metadata"]["name"]) == again.of("Job")[0]


def test_existing_secrets_take_the_place_of_generated_ones() -> None:
    objects = render("mlflow", "auth.existingSecret=ours", "postgresql.existingSecret=ours-too")
    assert not objects.of("Secret")
    named = set(
        re.findall(
            r"secretKeyRef:\s*key: \S+\s*name: (\S+)", yaml.safe_dump([dict(o) for o in objects.objects])
        )
    )
    assert named == {"ours", "ours-too"}


def test_a_changed_password_restarts_what_reads_it() -> None:
    before, after = (render("mlflow", *GIVEN[1:], f"auth.password={word * 12}") for word in ("a", "b"))
    for kind, name in (("Deployment", "mlflow"),):
        assert before.one(kind, name)["spec"] != after.one(kind, name)["spec"]
    assert before.of("Job")[0]["metadata"]["name"] != after.of("Job")[0]["metadata"]["name"]
    assert before.of("StatefulSet") == after.of("StatefulSet")


# The server


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
    asking = [c for _, pod in objects.pods() for c in containers(pod) if c["name"] != "check"]
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
        [job] = [o for o in yaml.safe_load_all(text) if o and o["kind"] == "Job"]
        return str(job["metadata"]["name"])

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


def test_a_restore_stops_all_else_and_starts_from_the_named_backup() -> None:
    objects = render("mlflow", RESTORE)
    assert objects.one("Deployment", "mlflow")["spec"]["replicas"] == 0
    assert all(job["spec"]["suspend"] for job in objects.of("CronJob"))
    [job] = objects.of("Job")
    assert environment(job["spec"]["template"]["spec"]["containers"][0])["FROM"] == "2026-11-23T02-00-00Z"
    assert job["metadata"]["name"].startswith("storecast-mlflow-restore-")


def test_every_job_is_removed_when_it_has_finished(variant: Rendered) -> None:
    for job in variant.of("Job"):
        assert job["spec"]["ttlSecondsAfterFinished"] > 0


# Networks, many pods, ways in


def test_every_pod_is_denied_all_but_named_connections(variant: Rendered) -> None:
    policies = {
        p["metadata"]["name"].removeprefix("storecast-mlflow-"): p["spec"]
        for p in variant.of("NetworkPolicy")
    }
    deny = policies["default-deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny.keys()
    pods = [
        item["spec"]["jobTemplate"]["spec"]["template"]
        if item["kind"] == "CronJob"
        else item["spec"].get("template", item)
        for item in variant.of("Deployment", "StatefulSet", "Job", "CronJob", "Pod")
    ]
    for pod in pods:
        assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policies["server"]["ingress"][0]["ports"] == [{"port": 5000, "protocol": "TCP"}]


def test_who_may_reach_the_server_can_be_narrowed_to_named_pods() -> None:
    settings = (
        "networkPolicy.allowNamespace=false",
        "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=trainer",
    )
    [rule] = render("mlflow", *settings).one("NetworkPolicy", "mlflow-server")["spec"]["ingress"]
    own, other = rule["from"]
    assert own["podSelector"]["matchExpressions"][0]["values"] == ["gc", "test"]
    assert other["podSelector"]["matchLabels"] == {"app": "trainer"}


def test_a_disruption_budget_exists_only_for_more_than_one_pod() -> None:
    assert not render("mlflow").of("PodDisruptionBudget")
    assert render("mlflow", *S3, "server.replicas=2").of("PodDisruptionBudget")


def test_ingress_and_route_lead_to_the_service_with_tls() -> None:
    objects = render("mlflow", *OPTIONAL)
    ingress = objects.one("Ingress", "mlflow")["spec"]
    assert ingress["tls"] == [{"hosts": ["mlflow.example.com"], "secretName": "mlflow-tls"}]
    route = objects.one("HTTPRoute", "mlflow")["spec"]
    assert route["parentRefs"] == [{"name": "public"}]
    assert route["rules"][0]["backendRefs"] == [{"name": "storecast-mlflow", "port": 5000}]


def test_prometheus_logs_in_and_may_name_the_pod_by_its_address() -> None:
    [endpoint] = render("mlflow", *OPTIONAL).one("ServiceMonitor", "mlflow")["spec"]["endpoints"]
    assert endpoint["basicAuth"]["password"] == {"name": "storecast-mlflow-auth", "key": "password"}
    assert "$(POD_IP):5000" in option("allowed-hosts", "metrics.enabled=true").split(",")


def test_all_images_come_from_the_given_registry() -> None:
    objects = render(
        "mlflow", "global.imageRegistry=registry.example.com/mirror/", "imagePullSecrets={login}"
    )
    for name, pod in objects.pods():
        assert pod["imagePullSecrets"] == [{"name": "login"}], name
        for container in containers(pod):
            assert re.fullmatch(
                r"registry\.example\.com/mirror/(storecast/mlflow:0\.1\.0|postgres:15)", container["image"]
            )


# Values


def test_every_value_is_used_by_a_template() -> None:
    templates = "\n".join(p.read_text(encoding="utf-8") for p in (CHART / "templates").rglob("*.*"))
    whole = set(re.findall(r"\.Values\.([A-Za-z0-9.]+)", templates))
    parts = set(re.findall(r"[ )]\.([A-Za-z0-9]+)", templates))
    for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))):
        used = path.removesuffix(".requests").removesuffix(".limits")
        parent, _, leaf = used.rpartition(".")
        assert used in whole or (parent in whole and leaf in parts), path


def test_every_value_is_described_and_in_the_schema() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for path in leaves(yaml.safe_load("\n".join(text))):
        node = schema
        for key in path.split("."):
            node = node["properties"][key]
        leaf = path.split(".")[-1]
        if leaf in {"requests", "limits"}:
            continue
        places = [i for i, line in enumerate(text) if re.match(rf"\s*{leaf}:", line)]
        assert all(
            text[i - 1].lstrip().startswith("# ") for i in places if not text[i].rstrip().endswith(":")
        ), path


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("nonsense=1", "nonsense"),
        ("server.replica=2", "replica"),
        ("auth.password=short", "password"),
        ("backup.keep=0", "keep"),
        ("gc.olderThan=a month", "olderThan"),
        ("server.replicas=2", "artifacts.storage=s3"),
        ("postgresql.enabled=false", "externalDatabase.host is empty"),
        ("externalDatabase.host=db", "postgresql.enabled=false"),
        ("artifacts.storage=s3", "artifacts.s3.bucket is empty"),
        ("metrics.serviceMonitor.enabled=true", "metrics.enabled=true"),
        ("gateway.enabled=true", "gateway.parentRefs is empty"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, told: str) -> None:
    with pytest.raises(HelmError, match=re.escape(told)):
        render("mlflow", setting)


def test_a_chart_above_may_share_globals_and_read_the_password(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "templates").mkdir(parents=True)
    shutil.copytree(CHART, above / "charts" / "mlflow")
    (above / "Chart.yaml").write_text("apiVersion: v2\nname: above\nversion: 0.1.0\n", encoding="utf-8")
    (above / "templates" / "x.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: above}\ndata:\n"
        '  x: {{ include "mlflow.auth.password" .Subcharts.mlflow }}\n',
        encoding="utf-8",
    )
    text = helm("template", "storecast", str(above), "--set", "global.anything=1,mlflow.enabled=true")
    objects = Rendered(tuple(item for item in yaml.safe_load_all(text) if item))
    secret = objects.one("Secret", "storecast-mlflow-auth")
    assert objects.one("ConfigMap", "above")["data"]["x"] == secret["stringData"]["password"]
    assert objects.one("Service", "storecast-mlflow")
