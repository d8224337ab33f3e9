"""The platform's chart over its life: secrets, upgrades, rollbacks, and what an uninstall leaves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import WORKLOADS, HelmError, Rendered, helm, pod_template, render
from tests.charts.storecast_chart import (
    CHART,
    EVERYTHING,
    GIVEN,
    installed,
    own,
    register_name,
)

EXISTING = ("s3.existingSecret=bucket", "postgresql.existingSecret=database")


def test_the_registration_runs_again_when_what_it_writes_changes_and_only_then() -> None:
    before = register_name(*GIVEN)
    assert before == register_name(*GIVEN, "server.resources.requests.cpu=300m")
    assert before != register_name(*GIVEN, "pools.cpu.concurrency=8")
    assert before != register_name(*GIVEN, "images.component.tag=0.2.0")
    assert before != register_name(*GIVEN, "workspace=s3://other/storecast")


def test_a_job_whose_spec_changes_gets_another_name_since_its_spec_is_immutable() -> None:
    def jobs(setting: str) -> list[Any]:
        return installed(own(render("storecast", setting))).of("Job")

    before = {job["metadata"]["name"]: job["spec"] for job in jobs("s3.size=1Gi")}
    for setting in (
        "jobs.ttlSecondsAfterFinished=90",
        "global.imageRegistry=registry.example.com",
        "global.imagePullSecrets[0]=registry",
        "priorityClasses.create=false",
        "jobs.resources.requests.cpu=75m",
    ):
        for job in jobs(setting):
            name = job["metadata"]["name"]
            assert before.get(name, job["spec"]) == job["spec"], f"{setting} changes the spec of Job {name}"


def test_names_of_a_long_release_fit_in_labels() -> None:
    long = render("storecast", release="a-release-name-of-fifty-three-characters-storecast-xy")
    for item in own(long).of("Job", "Deployment", "Service"):
        assert len(item["metadata"]["name"]) <= 63, item["metadata"]["name"]
    for item in own(long).of("StatefulSet"):  # whose pods carry it with a hash as a label
        assert len(item["metadata"]["name"]) <= 52, item["metadata"]["name"]


def test_jobs_go_by_themselves_and_only_volumes_are_kept_after_an_uninstall() -> None:
    chart = render("storecast", *EVERYTHING)
    for item in own(chart).objects:
        annotations = item["metadata"].get("annotations", {})
        kept = item["kind"] == "PersistentVolumeClaim"
        assert annotations.get("helm.sh/resource-policy") == ("keep" if kept else None)
        if "helm.sh/hook" in annotations:
            assert annotations["helm.sh/hook"] in {"test", "post-delete"}
            assert {"hook-succeeded", "hook-failed"} <= set(
                annotations["helm.sh/hook-delete-policy"].split(",")
            )
    for job in own(chart).of("Job"):
        assert job["spec"]["ttlSecondsAfterFinished"] > 0


@pytest.mark.parametrize("existing", [(), EXISTING], ids=["all given", "some of yours"])
def test_given_the_secrets_two_renderings_are_the_same(existing: tuple[str, ...]) -> None:
    given = [setting for setting in GIVEN if not existing or not setting.startswith(("s3.", "postgresql."))]

    def text() -> str:
        settings = [part for setting in (*given, *existing) for part in ("--set", setting)]
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
        ("postgresql.restore.from=yesterday", "at '/postgresql/restore/from'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting: str, message: str) -> None:
    with pytest.raises(HelmError, match=re.escape(message)):
        render("storecast", setting)


def test_helm_finds_nothing_to_complain_about() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_a_new_version_of_the_chart_alone_restarts_no_server_and_no_database(tmp_path: Path) -> None:
    def pods(chart: Path) -> dict[str, Any]:
        settings = [part for setting in (*GIVEN, *EVERYTHING) for part in ("--set", setting)]
        objects = yaml.safe_load_all(helm("template", "storecast", str(chart), *settings))
        running = own(Rendered(tuple(item for item in objects if item))).of("Deployment", "StatefulSet")
        return {item["metadata"]["name"]: item["spec"]["template"] for item in running}

    newer = shutil.copytree(CHART, tmp_path / "storecast")
    about = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(re.sub(r"^version: .*", "version: 9.9.9", about, flags=re.MULTILINE))
    assert pods(newer) == pods(CHART)


def test_a_password_cannot_be_tried_against_an_annotation_by_a_fast_hash() -> None:
    chart = render("storecast", *GIVEN, *EVERYTHING)
    secret = {setting.partition("=")[2] for setting in GIVEN}
    for item in chart.of("Secret"):
        texts = {*item.get("stringData", {}).values()}
        texts |= {base64.b64decode(text).decode() for text in item.get("data", {}).values()}
        secret |= texts | {":".join(pair) for pair in permutations(texts, 2)}
    hashes = {hashlib.sha256(text.encode()).hexdigest() for text in secret}
    for item in chart.of(*WORKLOADS):
        annotations = pod_template(item).get("metadata", {}).get("annotations", {})
        known = [key for key, value in annotations.items() if value in hashes]
        assert not known, f"{item['kind']} {item['metadata']['name']}: {known}"


def test_the_notes_name_the_next_commands_and_no_secret() -> None:
    folder = Path(CHART)
    text = (folder / "templates" / "NOTES.txt").read_text()
    commands = [line for line in text.splitlines() if line.startswith("  ")]
    assert [command.split()[0] for command in commands] == [
        "helm", "kubectl", "curl", "kubectl", "kubectl", "kubectl", "kubectl",
    ]  # fmt: skip
    assert "password }}" not in text
    assert not {"servingAdminKey", "dashboardPassword", "dashboardKey"} & set(re.findall(r"\w+", text))
