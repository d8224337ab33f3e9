"""The platform's chart: the service of forecasts, its keys, its scaling, and how a pod comes and goes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from serving import start
from serving.keys import SCOPES, KeyRing
from storecast.settings import Settings
from tests.charts.helm import HelmError, Rendered, containers, helm, pod_spec, render
from tests.charts.storecast_chart import CHART, EVERYTHING, GIVEN, environment, own
from tests.charts.test_storecast_scripts import api

ADMIN = "sc_admin_0123456789abcdef0123456789abcdef"
FIXED = "serving.autoscaling.enabled=false"


def deployment(*settings: str) -> Mapping[str, Any]:
    """The service's Deployment."""
    return render("storecast", *settings).one("Deployment", "storecast-serving")


def pod(*settings: str) -> Mapping[str, Any]:
    """Its pods' spec."""
    return pod_spec(deployment(*settings))


def of_serving(chart: Rendered) -> set[str]:
    """Kinds of the objects that are the service's."""
    return {
        item["kind"]
        for item in own(chart).objects
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == "serving"
    }


def test_the_autoscaler_owns_the_number_of_pods_and_without_one_the_deployment_does() -> None:
    assert "replicas" not in deployment()["spec"]
    scaler = render("storecast").one("HorizontalPodAutoscaler", "storecast-serving")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "storecast-serving"
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 3)
    fixed = render("storecast", FIXED, "serving.replicas=2")
    assert fixed.of("HorizontalPodAutoscaler") == []
    assert fixed.one("Deployment", "storecast-serving")["spec"]["replicas"] == 2


def test_more_pods_come_soon_and_go_one_by_one_after_a_while() -> None:
    behavior = render("storecast").one("HorizontalPodAutoscaler", "storecast-serving")["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 30
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert [policy["value"] for policy in behavior["scaleDown"]["policies"]] == [1]


def test_one_pod_at_a_time_may_be_disrupted_where_there_may_be_several() -> None:
    budget = render("storecast").one("PodDisruptionBudget", "storecast-serving")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget
    for single in ("serving.replicas=1", "serving.replicas=1,serving.autoscaling.maxReplicas=5"):
        assert own(render("storecast", FIXED, single)).of("PodDisruptionBudget") == []


def test_a_rollout_takes_no_pod_away_before_another_is_ready() -> None:
    assert deployment()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("seconds", [10, 60])
def test_a_pod_that_goes_says_so_answers_on_and_has_the_time_to_end_what_is_under_way(seconds: int) -> None:
    spec = pod(f"serving.drainSeconds={seconds}")
    (container,) = containers(spec)
    folder = environment(container)["STORECAST_SERVING_FOLDER"]
    hook = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert hook == f"touch {folder}/draining && sleep {seconds}"
    assert {"name": "cache", "mountPath": folder} in container["volumeMounts"]
    assert spec["terminationGracePeriodSeconds"] > seconds + start.DRAIN_SECONDS
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < 10


def test_probes_ask_whether_it_lives_and_whether_it_has_something_to_answer_from() -> None:
    (container,) = containers(pod())
    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_the_service_knows_every_setting_that_the_chart_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = containers(pod(*EVERYTHING, "serving.dataset=shop", "serving.workers=3"))
    for name, value in environment(container).items():
        if name.startswith("STORECAST_"):
            monkeypatch.setenv(name, value if isinstance(value, str) else "redis://somewhere")
    settings = Settings()
    assert (settings.serving_dataset, settings.serving_workers, settings.serving_what_if) == ("shop", 3, True)
    assert settings.root == "s3://storecast/storecast"
    assert settings.serving_rate_store.get_secret_value() == "redis://somewhere"
    assert str(settings.serving_home) == "/cache"
    assert start.command(settings, "0.0.0.0", 3000)[-4:] == [  # noqa: S104 - as in the container
        "--ssl-certfile",
        "/etc/storecast/tls/tls.crt",
        "--ssl-keyfile",
        "/etc/storecast/tls/tls.key",
    ]


def test_its_values_become_its_settings() -> None:
    given = environment(
        containers(
            pod(
                "serving.whatIf.enabled=false",
                "serving.rateLimits.perKey=50/second",
                "serving.rateLimits.perAddress=900/minute",
                "serving.trustedProxies=10.0.0.0/8",
                "serving.extraEnv.STORECAST_SERVING_TIMEOUT=9",
            )
        )[0]
    )
    assert given["STORECAST_SERVING_WHAT_IF"] == "false"
    assert given["STORECAST_SERVING_RATE_PER_KEY"] == "50/second"
    assert given["STORECAST_SERVING_RATE_PER_ADDRESS"] == "900/minute"
    assert given["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8"
    assert given["STORECAST_SERVING_TIMEOUT"] == "9"
    for wrong in ("serving.rateLimits.perKey=fast", "serving.keys.admin=short", "serving.workers=0"):
        with pytest.raises(HelmError, match="schema"):
            render("storecast", wrong)


def test_it_has_the_credentials_of_the_store_and_no_others() -> None:
    (container,) = containers(pod())
    secrets = {
        (name, value["secretKeyRef"]["name"])
        for name, value in environment(container).items()
        if isinstance(value, dict)
    }
    assert secrets == {("AWS_ACCESS_KEY_ID", "storecast-run"), ("AWS_SECRET_ACCESS_KEY", "storecast-run")}
    assert "envFrom" not in container


def test_the_credentials_may_be_a_secret_of_yours_or_a_cloud_role() -> None:
    (container,) = containers(pod("s3.existingSecret=bucket"))
    assert environment(container)["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["name"] == "bucket"
    role = render("storecast", "s3.enabled=false", "serving.serviceAccountAnnotations.role=forecasts")
    (container,) = containers(pod_spec(role.one("Deployment", "storecast-serving")))
    assert not [name for name in environment(container) if name.startswith("AWS_") and "KEY" in name]
    account = role.one("ServiceAccount", "storecast-serving")["metadata"]
    assert account["annotations"] == {"role": "forecasts"}


def test_its_account_is_its_own_and_has_no_rights_and_no_token() -> None:
    chart = render("storecast")
    assert pod()["serviceAccountName"] == "storecast-serving"
    assert pod()["automountServiceAccountToken"] is False
    subjects = [one["name"] for bind in own(chart).of("RoleBinding") for one in bind["subjects"]]
    assert "storecast-serving" not in subjects


def test_local_copies_of_releases_have_a_limit() -> None:
    volumes = {volume["name"]: volume for volume in pod("serving.cache=500Mi")["volumes"]}
    assert volumes["cache"]["emptyDir"] == {"sizeLimit": "500Mi"}


def test_the_generated_key_opens_the_service_and_only_its_hash_is_there_to_be_mounted(tmp_path: Any) -> None:
    chart = render("storecast")
    content = chart.one("Secret", "storecast-serving-keys")["stringData"]
    assert set(content) == {"keys.json"}
    (tmp_path / "keys.json").write_text(content["keys.json"])
    admin = chart.one("Secret", "storecast-serving-admin")["stringData"]["admin-key"]
    key = KeyRing(tmp_path / "keys.json").find(admin.encode())
    assert key is not None
    assert (key.id, key.scopes) == ("admin", SCOPES)
    assert len(admin) >= len("sc_admin_") + 32
    assert admin not in json.dumps([item for item in chart.objects if item["kind"] != "Secret"])
    mounted = [volume["secret"] for volume in pod()["volumes"] if "secret" in volume]
    assert {secret["secretName"] for secret in mounted} == {
        "storecast-serving-people",
        "storecast-serving-keys",
    }


def test_a_given_key_is_the_admins() -> None:
    chart = render("storecast", *GIVEN)
    assert chart.one("Secret", "storecast-serving-admin")["stringData"] == {"admin-key": ADMIN}
    key, *_ = json.loads(chart.one("Secret", "storecast-serving-keys")["stringData"]["keys.json"])["keys"]
    assert key["hash"] == hashlib.sha256(ADMIN.encode()).hexdigest()


def test_keys_change_without_a_restart() -> None:
    (container,) = containers(pod())
    for name, variable in (
        ("keys", "STORECAST_SERVING_KEYS"),
        ("own-keys", "STORECAST_SERVING_PLATFORM_KEYS"),
    ):
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == name]
        assert "subPath" not in mount, "Kubernetes never updates a file that is mounted by itself"
        assert environment(container)[variable] == f"{mount['mountPath']}/keys.json"
    one, other = (
        deployment(*GIVEN[:-1], f"serving.keys.admin=sc_admin_{digit * 32}")["spec"]["template"]
        for digit in "ab"
    )
    assert one == other


def test_peoples_keys_are_in_a_secret_that_helm_never_writes_so_that_no_rollback_revives_a_revoked_one() -> (
    None
):
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    people = volumes["keys"]["secret"]
    assert (people["secretName"], people["optional"]) == ("storecast-serving-people", True)
    chart = render("storecast")
    assert "storecast-serving-people" not in {secret["metadata"]["name"] for secret in chart.of("Secret")}
    own_keys = json.loads(chart.one("Secret", "storecast-serving-keys")["stringData"]["keys.json"])["keys"]
    assert [key["id"] for key in own_keys] == ["admin", "runs", "dashboard"]


@pytest.mark.parametrize(
    ("ids", "moved", "lost"),
    [
        (("admin", "runs", "dashboard"), False, ""),
        (("admin", "runs", "planner", "buyer"), False, "planner, buyer"),
        (("admin", "runs", "planner"), True, ""),
    ],
    ids=["none", "some", "moved"],
)
def test_an_upgrade_that_would_drop_peoples_keys_ends_with_how_to_move_them(
    ids: tuple[str, ...], moved: bool, lost: str
) -> None:
    def secret(*keys: str) -> dict[str, Any]:
        content = {
            "keys": [{"id": key, "hash": "", "scopes": [], "expires": "", "created": ""} for key in keys]
        }
        data = {"keys.json": base64.b64encode(json.dumps(content).encode()).decode()}
        return {"apiVersion": "v1", "kind": "Secret", "data": data}

    secrets = "/api/v1/namespaces/shop/secrets/storecast-serving"
    cluster = {
        "/api/v1?timeout=32s": {
            "groupVersion": "v1",
            "resources": [{"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["get"]}],
        },
        f"{secrets}-keys": secret(*ids),
        **({f"{secrets}-people": secret()} if moved else {}),
    }
    with api(cluster, protected=False) as url:
        call = ("template", "storecast", str(CHART), "--namespace", "shop")
        call = (*call, "--dry-run=server", "--kube-apiserver", url)
        if not lost:
            helm(*call)
            return
        with pytest.raises(HelmError) as refused:
            helm(*call)
    message = str(refused.value)
    assert f"which this upgrade would drop: {lost}. Move them to secret storecast-serving-people" in message
    assert (
        "for id in admin runs; do STORECAST_SERVING_KEYS=$PWD/keys.json storecast keys revoke $id" in message
    )


def test_other_credentials_of_the_store_restart_it() -> None:
    one, other = (
        deployment(*GIVEN[:3], f"s3.secretKey={key}")["spec"]["template"]["metadata"]["annotations"]
        for key in ("a", "b")
    )
    assert one != other


def test_keys_of_yours_are_mounted_and_none_are_made() -> None:
    chart = render("storecast", "serving.keys.existingSecret=mine")
    spec = pod("serving.keys.existingSecret=mine")
    mounted = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert [(secret["secretName"], secret["optional"]) for secret in mounted] == [("mine", False)]
    assert "STORECAST_SERVING_PLATFORM_KEYS" not in environment(containers(spec)[0])
    assert [s for s in chart.of("Secret") if "serving" in s["metadata"]["name"]] == []
    (test,) = (item for item in chart.of("Pod") if item["metadata"]["name"].endswith("-test-serving"))
    assert "SERVING_KEY" not in environment(pod_spec(test)["containers"][0])


def test_with_a_certificate_everything_about_it_is_tls() -> None:
    chart = render("storecast", *EVERYTHING)
    (container,) = containers(pod_spec(chart.one("Deployment", "storecast-serving")))
    probes = [container[name]["httpGet"] for name in container if name.endswith("Probe")]
    assert {(probe["scheme"], probe["port"]) for probe in probes} == {("HTTPS", "https")}
    assert chart.one("Service", "storecast-serving")["spec"]["ports"][0]["name"] == "https"
    (endpoint,) = chart.one("ServiceMonitor", "storecast-serving")["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["port"], endpoint["path"]) == ("https", "https", "/metrics")
    test = chart.one("Pod", "test-serving")
    assert environment(pod_spec(test)["containers"][0])["SERVING_URL"] == "https://storecast-serving:3000"


def test_forecasts_are_published_without_probes_and_metrics_and_over_tls_alone() -> None:
    chart = render("storecast", *EVERYTHING)
    ingress = chart.one("Ingress", "storecast-serving")["spec"]
    (rule,) = ingress["rules"]
    assert rule["host"] == "forecasts.example.com"
    assert [(path["path"], path["pathType"]) for path in rule["http"]["paths"]] == [("/v1", "Prefix")]
    assert ingress["tls"] == [{"hosts": ["forecasts.example.com"], "secretName": "storecast-serving-tls"}]
    (rule,) = chart.one("HTTPRoute", "storecast-serving")["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v1"}}]


@pytest.mark.parametrize(
    ("host", "published"),
    [("serving", "storecast-serving"), ("prefect", "storecast"), ("dashboard", "storecast-dashboard")],
)
def test_only_what_has_a_host_is_published(host: str, published: str) -> None:
    chart = render("storecast", "ingress.enabled=true", f"ingress.hosts.{host}=a.example.com")
    assert [item["metadata"]["name"] for item in chart.of("Ingress")] == [published]


def test_pods_are_spread_and_of_the_class_of_what_serves() -> None:
    spec = pod()
    assert spec["priorityClassName"] == "storecast-serving"
    assert [rule["topologyKey"] for rule in spec["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]


def test_without_it_nothing_of_it_is_left() -> None:
    assert of_serving(render("storecast")) >= {"Deployment", "Service", "Secret", "ServiceAccount"}
    without = render("storecast", *EVERYTHING, "serving.enabled=false")
    assert of_serving(without) == set()
    policies = [policy["metadata"]["name"] for policy in own(without).of("NetworkPolicy")]
    assert not [name for name in policies if "serving" in name]
