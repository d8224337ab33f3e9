"""The platform's chart: who may talk to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.charts.helm import Rendered, pod_spec, render

OWN = {"app.kubernetes.io/name": "storecast", "app.kubernetes.io/instance": "storecast"}
RUN = {"storecast/runs-of": "storecast"}
MLFLOW = {"app.kubernetes.io/name": "mlflow", "app.kubernetes.io/instance": "storecast"}


def part(name: str) -> dict[str, str]:
    """Labels of the pods of one component."""
    return {**OWN, "app.kubernetes.io/component": name}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes a pod."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def side(chart: Rendered, labels: Mapping[str, str], kind: str) -> list[Any]:
    """All ingress or egress rules that hold for a pod."""
    return [
        rule
        for policy in chart.of("NetworkPolicy")
        if policy["metadata"]["labels"]["app.kubernetes.io/name"] == "storecast"
        and matches(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(kind, [])
    ]


def allowed(chart: Rendered, source: Mapping[str, str], target: Mapping[str, str], port: int) -> bool:
    """Whether a pod of the release may reach another on a port, by both their policies."""

    def passes(rules: list[Any], key: str, labels: Mapping[str, str]) -> bool:
        return any(
            any(entry["port"] == port for entry in rule["ports"])
            and any("podSelector" in peer and matches(peer["podSelector"], labels) for peer in rule[key])
            for rule in rules
        )

    out = passes(side(chart, source, "egress"), "to", target)
    return out and (target == MLFLOW or passes(side(chart, target, "ingress"), "from", source))


def test_every_pod_of_the_release_and_of_its_runs_is_denied_by_default() -> None:
    chart = render("storecast")
    denials = [
        policy["spec"]["podSelector"]["matchLabels"]
        for policy in chart.of("NetworkPolicy")
        if policy["metadata"]["name"].endswith("default-deny")
        and policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ]
    assert OWN in denials
    assert RUN in denials
    for kind in ("Deployment", "StatefulSet", "Job"):
        for item in chart.of(kind):
            labels = item["spec"]["template"]["metadata"]["labels"]
            if labels["app.kubernetes.io/name"] == "storecast":
                assert matches({"matchLabels": OWN}, labels)


def test_the_flows_are_these_and_no_others() -> None:
    chart = render("storecast")
    pods = {
        "server": part("prefect-server"),
        "migrate": part("prefect-migrate"),
        "backup": part("prefect-backup"),
        "restore": part("prefect-restore"),
        "worker-cpu": part("prefect-worker-cpu"),
        "worker-gpu": part("prefect-worker-gpu"),
        "register": part("register"),
        "test": part("test"),
        "postgresql": part("postgresql"),
        "s3": part("s3"),
        "serving": part("serving"),
        "dashboard": part("dashboard"),
        "run": RUN,
        "mlflow": MLFLOW,
    }
    ports = {
        "server": 4200,
        "postgresql": 5432,
        "s3": 7070,
        "mlflow": 5000,
        "serving": 3000,
        "dashboard": 8501,
    }
    flows = {
        (source, target)
        for source in pods
        for target, port in ports.items()
        if source != target and allowed(chart, pods[source], pods[target], port)
    }
    assert flows == {
        ("server", "postgresql"),
        ("migrate", "postgresql"),
        ("backup", "postgresql"),
        ("restore", "postgresql"),
        ("worker-cpu", "server"),
        ("worker-gpu", "server"),
        ("serving", "s3"),
        ("test", "serving"),
        ("test", "dashboard"),
        ("dashboard", "serving"),
        ("run", "serving"),
        ("run", "postgresql"),
        *(
            (source, target)
            for source in ("register", "dashboard", "test", "run")
            for target in ("server", "s3", "mlflow")
        ),
    }


def test_every_pod_may_ask_the_clusters_dns() -> None:
    chart = render("storecast")
    for labels in (part("prefect-server"), part("s3"), part("serving"), RUN):
        ports = {
            (entry["port"], entry["protocol"])
            for rule in side(chart, labels, "egress")
            for entry in rule["ports"]
            if any("namespaceSelector" in peer for peer in rule["to"])
        }
        assert ports == {(53, "UDP"), (53, "TCP")}


def test_workers_alone_reach_the_kubernetes_api() -> None:
    chart = render("storecast", "networkPolicy.kubeApiCidr=10.0.0.1/32")

    def blocks(labels: Mapping[str, str]) -> list[str]:
        rules = side(chart, labels, "egress")
        return [peer["ipBlock"]["cidr"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]

    assert blocks(part("prefect-worker-cpu")) == ["10.0.0.1/32"]
    assert blocks(part("prefect-worker-gpu")) == ["10.0.0.1/32"]
    others = (RUN, part("prefect-server"), part("register"), part("serving"))
    assert [blocks(labels) for labels in others] == [[], [], [], []]


def test_runs_reach_external_services_on_their_ports() -> None:
    chart = render(
        "storecast",
        "s3.enabled=false",
        "externalS3.endpoint=https://s3.example.com:9000",
        "mlflow.enabled=false",
        "externalMlflow.url=http://mlflow.mlops",
    )
    ports = {
        entry["port"]
        for rule in side(chart, RUN, "egress")
        for entry in rule["ports"]
        if any("ipBlock" in peer for peer in rule["to"])
    }
    assert ports == {9000, 80}


def test_what_is_on_the_internet_has_addresses_of_its_own_beside_those_of_external_services() -> None:
    chart = render(
        "storecast",
        "networkPolicy.externalCidr=10.0.0.0/8",
        "networkPolicy.internetCidr=192.0.2.0/24",
        "s3.enabled=false",
        "externalS3.endpoint=https://s3.example.com:9000",
        "serving.rateLimits.redis.existingSecret=redis",
        "run.notify.existingSecret=people",
        "dashboard.oidc.existingSecret=provider",
        "dashboard.service.url=https://forecasts.example.com:8443",
    )

    def outside(labels: Mapping[str, str]) -> set[tuple[str, int]]:
        rules = side(chart, labels, "egress")
        return {
            (peer["ipBlock"]["cidr"], entry["port"])
            for rule in rules
            for peer in rule["to"]
            if "ipBlock" in peer
            for entry in rule["ports"]
        }

    within, internet = "10.0.0.0/8", "192.0.2.0/24"
    assert outside(RUN) == {(within, 9000), (internet, 443)}
    assert outside(part("serving")) == {(within, 9000), (within, 6379)}
    assert outside(part("dashboard")) == {(within, 9000), (within, 8443), (internet, 443)}


def test_an_ingress_controller_that_is_named_reaches_what_answers_people() -> None:
    peer = (
        "networkPolicy.ingressFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress"
    )
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
    for component in ("prefect-server", "serving", "dashboard"):
        rules = side(render("storecast", peer), part(component), "ingress")
        assert named in rules[0]["from"], component


def test_the_service_reaches_a_redis_that_is_named_and_nothing_else_outside() -> None:
    chart = render(
        "storecast", "serving.rateLimits.redis.existingSecret=redis", "serving.rateLimits.redis.port=6380"
    )
    rules = side(chart, part("serving"), "egress")
    outside = [
        entry["port"]
        for rule in rules
        for entry in rule["ports"]
        if any("ipBlock" in peer for peer in rule["to"])
    ]
    assert outside == [6380]


def test_an_application_that_is_named_reaches_forecasts_and_not_prefect() -> None:
    shop = "networkPolicy.forecastsFrom[0].podSelector.matchLabels.app=shop"
    peer = {"podSelector": {"matchLabels": {"app": "shop"}}}
    chart = render("storecast", shop)
    (to_serving,) = side(chart, part("serving"), "ingress")
    assert peer in to_serving["from"]
    assert [rule for rule in side(chart, part("prefect-server"), "ingress") if peer in rule["from"]] == []


def test_run_pods_carry_the_label_that_the_policies_select() -> None:
    import yaml

    text = render("storecast").one("ConfigMap", "storecast-platform")["data"]["platform.yaml"]
    for pool in yaml.safe_load(text)["pools"].values():
        assert matches({"matchLabels": RUN}, pool["podLabels"])


def test_helm_test_asks_each_part_with_what_runs_have() -> None:
    pods = [
        item
        for item in render("storecast").of("Pod")
        if item["metadata"]["labels"]["app.kubernetes.io/name"] == "storecast"
    ]
    scripts = {pod_spec(pod)["containers"][0]["args"][0].rpartition("/")[2] for pod in pods}
    parts = ("prefect", "pools", "mlflow", "s3", "serving", "dashboard")
    assert scripts == {f"check_{name}.py" for name in parts}
    data = render("storecast").one("ConfigMap", "storecast-scripts")["data"]
    assert scripts <= set(data)
    for pod in pods:
        assert matches({"matchLabels": part("test")}, pod["metadata"]["labels"])
