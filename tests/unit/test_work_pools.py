"""The jobs that a work pool's pods come from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.templating import apply_values
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration
from pydantic import ValidationError

from pipelines.work_pools import PlatformConfig, PoolConfig, job_template

CPU = {"image": "storecast/component:1", "envFrom": {"configMaps": ["run"], "secrets": ["run"]}}
GPU = {**CPU, "gpu": {"count": 1}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}


def template(pool: dict[str, Any]) -> dict[str, Any]:
    return job_template(PoolConfig.model_validate(pool), "shop")


def job(pool: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The Kubernetes Job that Prefect's own worker makes of a template for a run."""
    made = template(pool)
    given = {k: v["default"] for k, v in made["variables"]["properties"].items() if "default" in v} | values
    configuration = KubernetesWorkerJobConfiguration(**apply_values(made["job_configuration"], given))
    run = FlowRun(flow_id="00000000-0000-0000-0000-000000000001", name="train lstm")
    configuration.prepare_for_flow_run(run)
    manifest: dict[str, Any] = configuration.job_manifest
    return manifest


@pytest.mark.parametrize("pool", [CPU, GPU, {**CPU, "storeKeys": "k"}], ids=["cpu", "gpu", "encrypted"])
def test_every_variable_of_the_form_is_used_by_the_job_and_none_is_missing(pool: dict[str, Any]) -> None:
    made = template(pool)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(made["job_configuration"])))
    assert used == set(made["variables"]["properties"])


def test_a_gpu_pods_limit_toleration_node_and_shared_memory_are_in_its_job() -> None:
    pod = job({**GPU, "nodeSelector": {"gpu": "yes"}, "sharedMemory": "2Gi"})["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert pod["nodeSelector"] == {"gpu": "yes"}
    shared = next(v for v in pod["volumes"] if v["name"] == "shm")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_a_cpu_pod_asks_for_no_gpu() -> None:
    assert "nvidia.com/gpu" not in json.dumps(job(CPU))


def test_a_run_may_ask_for_more_memory_and_another_image() -> None:
    container = job(CPU, memory_limit="9Gi", image="mine:2")["spec"]["template"]["spec"]["containers"][0]
    assert (container["resources"]["limits"]["memory"], container["image"]) == ("9Gi", "mine:2")


def test_a_pod_may_do_no_more_than_the_restricted_standard_allows() -> None:
    pod = job(CPU)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert not pod["automountServiceAccountToken"]


def test_secrets_reach_a_pod_by_reference_only() -> None:
    container = job(CPU)["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"configMapRef": {"name": "run"}}, {"secretRef": {"name": "run"}}]


def test_the_stores_keys_are_a_file_of_a_secret_beside_the_forms_variables() -> None:
    pod = job({**CPU, "storeKeys": "our-keys"}, env={"MINE": "1"})["spec"]["template"]["spec"]
    container = pod["containers"][0]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given["MINE"] == "1"
    path = Path(given["STORECAST_STORE_KEY_FILE"])
    mount = next(m for m in container["volumeMounts"] if m["mountPath"] == str(path.parent))
    assert mount["readOnly"]
    secret = next(v for v in pod["volumes"] if v["name"] == mount["name"])["secret"]
    assert (secret["secretName"], secret["items"]) == ("our-keys", [{"key": path.name, "path": path.name}])
    assert "STORE_KEY" not in json.dumps(job(CPU))


def test_finished_and_endless_jobs_go_by_themselves() -> None:
    spec = job({**CPU, "ttlSecondsAfterFinished": 60, "activeDeadlineSeconds": 600})["spec"]
    assert (spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (
        60,
        600,
        0,
    )


def test_an_unknown_key_of_the_platform_is_refused() -> None:
    with pytest.raises(ValidationError, match="imagee"):
        PlatformConfig.model_validate(
            {"namespace": "n", "workspace": "w", "pools": {"cpu": {**CPU, "imagee": "x"}}}
        )
