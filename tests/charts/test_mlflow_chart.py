"""charts/mlflow as a whole: names, security, connections."""

from __future__ import annotations

import configparser
import re
import shutil

import pytest
import yaml

from tests.charts.helm import Rendered, containers, helm, render
from tests.charts.mlflow_chart import (
    CHART,
    EXTERNAL,
    GIVEN,
    OPTIONAL,
    S3,
    SECRETS,
    VARIANTS,
    environment,
    migration_name,
    option,
    server,
)

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


@pytest.fixture(params=list(VARIANTS.values()), ids=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> Rendered:
    """The chart in each of its main shapes."""
    return render("mlflow", *GIVEN, *request.param)


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
    assert first.of("Job") == again.of("Job")


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
    assert migration_name(before) != migration_name(after)
    assert before.of("StatefulSet") == after.of("StatefulSet")


def test_every_job_is_removed_when_it_has_finished(variant: Rendered) -> None:
    for job in variant.of("Job"):
        assert job["spec"]["ttlSecondsAfterFinished"] > 0


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
