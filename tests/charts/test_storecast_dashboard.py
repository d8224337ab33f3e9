"""The platform's chart: the dashboard, who may log in, and what it reaches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboard import start, users
from serving.keys import KeyRing
from storecast.settings import Settings
from tests.charts.helm import HelmError, Rendered, containers, pod_spec, render
from tests.charts.storecast_chart import EVERYTHING, GIVEN, environment, own
from tests.charts.test_storecast_network import MLFLOW, allowed, part, side
from tests.charts.test_storecast_scripts import api, run

OIDC = ("dashboard.oidc.existingSecret=provider", "dashboard.oidc.operators[0]=ann@example.com")
OWN_USERS = "dashboard.users.existingSecret=people"


def deployment(*settings: str) -> Mapping[str, Any]:
    """The dashboard's Deployment."""
    return render("storecast", *settings).one("Deployment", "storecast-dashboard")


def pod(*settings: str) -> Mapping[str, Any]:
    """Its pods' spec."""
    return pod_spec(deployment(*settings))


def container(*settings: str) -> Mapping[str, Any]:
    """The container that answers."""
    found: Mapping[str, Any] = pod(*settings)["containers"][0]
    return found


def of_dashboard(chart: Rendered) -> set[str]:
    """Kinds of the objects that are the dashboard's."""
    return {
        item["kind"]
        for item in own(chart).objects
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == "dashboard"
    }


def mounted(spec: Mapping[str, Any]) -> dict[str, str]:
    """Secrets that the dashboard's own container mounts, by where."""
    secrets = {v["name"]: v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    mounts = spec["containers"][0]["volumeMounts"]
    return {mount["mountPath"]: secrets[mount["name"]] for mount in mounts if mount["name"] in secrets}


def test_a_pod_starts_with_an_operator_whose_password_only_people_and_one_script_see(tmp_path: Path) -> None:
    chart = render("storecast")
    secret = chart.one("Secret", "storecast-dashboard-admin")["stringData"]
    spec = pod()
    first, second = containers(spec)
    assert first["command"][1] == "/etc/storecast/scripts/dashboard_user.py"
    assert environment(first)["DASHBOARD_PASSWORD"] == {
        "secretKeyRef": {"name": "storecast-dashboard-admin", "key": "password"}
    }
    file = tmp_path / "users.json"
    root = str(Path(__file__).parents[2])
    done = run(
        "dashboard_user.py", str(file), DASHBOARD_PASSWORD=secret["password"], PYTHONPATH=root, HOME=root
    )
    assert done.returncode == 0, done.stderr
    entry = users.check(file, secret["username"], secret["password"])
    assert entry is not None
    assert entry.role is users.Role.OPERATOR
    assert secret["password"] not in file.read_text()
    assert first["command"][2] == environment(second)["STORECAST_DASHBOARD_USERS"]
    assert "storecast-dashboard-admin" not in json.dumps(second)


def test_a_given_password_is_the_operators_and_a_short_one_is_refused() -> None:
    secret = render("storecast", "dashboard.users.password=correct horse").one("Secret", "dashboard-admin")
    assert secret["stringData"] == {"username": "admin", "password": "correct horse"}
    with pytest.raises(HelmError, match="at '/dashboard/users/password'"):
        render("storecast", "dashboard.users.password=short")


def test_another_password_or_key_restarts_it() -> None:
    def annotations(*settings: str) -> Any:
        return deployment(*GIVEN, *settings)["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations("s3.size=20Gi")
    for change in (
        "dashboard.users.password=another-password",
        f"serving.keys.dashboard=sc_dashboard_{'b' * 32}",
        "s3.secretKey=another",
        "workspace=s3://other/storecast",
    ):
        assert annotations() != annotations(change), change


def test_users_of_yours_are_mounted_and_none_is_made() -> None:
    assert mounted(pod(OWN_USERS)) == {"/etc/storecast/users": "people"}
    assert "initContainers" not in pod(OWN_USERS)
    assert environment(container(OWN_USERS))["STORECAST_DASHBOARD_USERS"] == "/etc/storecast/users/users.json"
    names = [item["metadata"]["name"] for item in render("storecast", OWN_USERS).of("Secret")]
    assert "storecast-dashboard-admin" not in names


def test_with_a_provider_streamlit_finds_it_and_there_are_no_passwords() -> None:
    spec = pod(*OIDC)
    assert mounted(spec) == {str(Path("/work") / start.SECRETS.parent): "provider"}
    (only,) = containers(spec)
    given = environment(only)
    assert given["STORECAST_DASHBOARD_OPERATORS"] == "ann@example.com"
    assert "STORECAST_DASHBOARD_USERS" not in given
    names = [item["metadata"]["name"] for item in render("storecast", *OIDC).of("Secret")]
    assert "storecast-dashboard-admin" not in names
    with pytest.raises(HelmError, match="at '/dashboard/oidc/operators/0'"):
        render("storecast", "dashboard.oidc.operators[0]=ann")


def test_its_key_asks_for_forecasts_and_what_ifs_and_switches_nothing(tmp_path: Path) -> None:
    chart = render("storecast")
    (tmp_path / "keys.json").write_text(
        chart.one("Secret", "storecast-serving-keys")["stringData"]["keys.json"]
    )
    key = chart.one("Secret", "storecast-dashboard")["stringData"]["service-key"]
    found = KeyRing(tmp_path / "keys.json").find(key.encode())
    assert found is not None
    assert (found.id, set(found.scopes)) == ("dashboard", {"read", "what-if"})
    given = environment(container())["STORECAST_SERVING_KEY"]
    assert given == {"secretKeyRef": {"name": "storecast-dashboard", "key": "service-key"}}


@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        (("dashboard.service.existingSecret=mine",), "mine"),
        (("serving.keys.existingSecret=keys", "dashboard.service.existingSecret=mine"), "mine"),
        (("serving.keys.existingSecret=keys",), ""),
        (("serving.enabled=false",), ""),
    ],
)
def test_a_key_of_yours_takes_the_place_of_the_one_made_here(settings: tuple[str, ...], secret: str) -> None:
    chart = render("storecast", *settings)
    given = environment(container(*settings)).get("STORECAST_SERVING_KEY")
    assert given == ({"secretKeyRef": {"name": secret, "key": "service-key"}} if secret else None)
    names = [item["metadata"]["name"] for item in chart.of("Secret")]
    assert "storecast-dashboard" not in names
    for keys in (item for item in chart.of("Secret") if item["metadata"]["name"].endswith("-serving-keys")):
        assert [key["id"] for key in json.loads(keys["stringData"]["keys.json"])["keys"]] == ["admin", "runs"]


def test_it_knows_every_setting_that_the_chart_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = render("storecast").one("ConfigMap", "storecast-run")["data"]
    for name, value in {**config, **environment(container())}.items():
        if name.startswith("STORECAST_"):
            monkeypatch.setenv(name, value if isinstance(value, str) else "a-key")
    settings = Settings()
    assert settings.service_url == "http://storecast-serving:3000"
    assert settings.serving_key.get_secret_value() == "a-key"
    assert str(users.users_path(settings)) == "/etc/storecast/users/users.json"
    assert settings.root == "s3://storecast/storecast"
    assert settings.tracking_uri == "http://storecast-mlflow:5000"
    args = container()["args"]
    assert dict(zip(args[::2], args[1::2], strict=True)) == {"--host": "0.0.0.0", "--port": str(start.PORT)}  # noqa: S104


def test_forecasts_may_be_elsewhere_or_speak_tls() -> None:
    def url(*settings: str) -> Any:
        config = render("storecast", *settings).one("ConfigMap", "storecast-run")["data"]
        return {**config, **environment(container(*settings))}.get("STORECAST_SERVING_URL")

    assert url() == "http://storecast-serving:3000"
    assert url("serving.tls.existingSecret=certificate") == "https://storecast-serving:3000"
    assert url("dashboard.service.url=https://forecasts.example.com/") == "https://forecasts.example.com"
    assert url("serving.enabled=false") is None


def test_further_settings_are_taken_and_win() -> None:
    extra = container("dashboard.extraEnv.STORECAST_TRACKING_PAGE=https://mlflow.example.com")["env"]
    assert extra[-1] == {"name": "STORECAST_TRACKING_PAGE", "value": "https://mlflow.example.com"}


def test_probes_ask_streamlits_own_health() -> None:
    asked = {name: how["httpGet"]["path"] for name, how in container().items() if name.endswith("Probe")}
    assert asked == dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), start.HEALTH)


def test_a_visitor_stays_with_one_pod() -> None:
    service = render("storecast").one("Service", "storecast-dashboard")["spec"]
    assert service["sessionAffinity"] == "ClientIP"
    assert service["ports"] == [{"name": "http", "port": 8501, "targetPort": "http"}]
    sticky = r"dashboard.ingressAnnotations.nginx\.ingress\.kubernetes\.io/affinity=cookie"
    chart = render("storecast", *EVERYTHING, "ingress.annotations.issuer=mine", sticky)
    assert chart.one("Ingress", "storecast-dashboard")["metadata"]["annotations"] == {
        "issuer": "mine",
        "nginx.ingress.kubernetes.io/affinity": "cookie",
    }
    assert chart.one("Ingress", "storecast-serving")["metadata"]["annotations"] == {"issuer": "mine"}


def test_it_is_published_whole_and_over_tls_alone() -> None:
    chart = render("storecast", *EVERYTHING)
    ingress = chart.one("Ingress", "storecast-dashboard")["spec"]
    (rule,) = ingress["rules"]
    assert rule["host"] == "dashboard.example.com"
    assert [(path["path"], path["pathType"]) for path in rule["http"]["paths"]] == [("/", "Prefix")]
    assert ingress["tls"] == [{"hosts": ["dashboard.example.com"], "secretName": "storecast-dashboard-tls"}]
    route = chart.one("HTTPRoute", "storecast-dashboard")["spec"]
    assert route["hostnames"] == ["dashboard.example.com"]
    assert route["rules"][0]["backendRefs"] == [{"name": "storecast-dashboard", "port": 8501}]


def test_one_pod_at_a_time_may_be_disrupted_where_there_are_several() -> None:
    assert "PodDisruptionBudget" not in of_dashboard(render("storecast"))
    several = render("storecast", "dashboard.replicas=2")
    assert several.one("PodDisruptionBudget", "storecast-dashboard")["spec"]["maxUnavailable"] == 1
    assert several.one("Deployment", "storecast-dashboard")["spec"]["replicas"] == 2


def test_its_account_is_its_own_and_has_no_rights_and_no_token() -> None:
    chart = render("storecast", "dashboard.serviceAccountAnnotations.role=reader")
    spec = pod()
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == (
        "storecast-dashboard",
        False,
    )
    account = chart.one("ServiceAccount", "storecast-dashboard")
    assert account["metadata"]["annotations"] == {"role": "reader"}
    subjects = [one["name"] for bind in own(chart).of("RoleBinding") for one in bind["subjects"]]
    assert "storecast-dashboard" not in subjects


def test_it_reaches_what_stands_behind_it_and_nothing_else() -> None:
    chart = render("storecast")
    targets = {"prefect-server": 4200, "s3": 7070, "serving": 3000, "postgresql": 5432}
    reached = {name for name, port in targets.items() if allowed(chart, part("dashboard"), part(name), port)}
    assert reached == {"prefect-server", "s3", "serving"}
    assert allowed(chart, part("dashboard"), MLFLOW, 5000)
    assert outside(chart) == []


def test_it_reaches_a_provider_and_forecasts_elsewhere_where_they_are_named() -> None:
    assert outside(render("storecast", *OIDC, "dashboard.oidc.port=8443")) == [8443]
    assert outside(render("storecast", "dashboard.service.url=https://forecasts.example.com")) == [443]


def outside(chart: Rendered) -> list[int]:
    """Ports on which it reaches addresses, not pods."""
    return [
        entry["port"]
        for rule in side(chart, part("dashboard"), "egress")
        for entry in rule["ports"]
        if any("ipBlock" in peer for peer in rule["to"])
    ]


def test_tests_and_an_ingress_controller_that_is_named_reach_it_and_nobody_else() -> None:
    named = "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=ingress"
    chart = render("storecast", named)
    (rule,) = side(chart, part("dashboard"), "ingress")
    assert [entry["port"] for entry in rule["ports"]] == [8501]
    assert {"podSelector": {"matchLabels": {"app": "ingress"}}} in rule["from"]
    assert allowed(chart, part("test"), part("dashboard"), 8501)
    for other in ("serving", "prefect-server", "register"):
        assert not allowed(chart, part(other), part("dashboard"), 8501)


def test_helm_test_asks_whether_it_answers() -> None:
    (check,) = pod_spec(render("storecast").one("Pod", "test-dashboard"))["containers"]
    assert environment(check)["DASHBOARD_URL"] == "http://storecast-dashboard:8501"
    with api({start.HEALTH: "ok"}, protected=False) as url:
        done = run("check_dashboard.py", DASHBOARD_URL=url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The dashboard answers\n"


def test_without_it_nothing_of_it_is_left() -> None:
    assert of_dashboard(render("storecast")) >= {"Deployment", "Service", "Secret", "ServiceAccount"}
    without = render("storecast", *EVERYTHING, "dashboard.enabled=false")
    assert of_dashboard(without) == set()
    for item in own(without).of("NetworkPolicy", "Pod"):
        assert "dashboard" not in item["metadata"]["name"]
    keys = yaml.safe_load(without.one("Secret", "serving-keys")["stringData"]["keys.json"])["keys"]
    assert [key["id"] for key in keys] == ["admin", "runs"]
