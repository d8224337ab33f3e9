"""What goes wrong in a cluster ends in one right release or in a failure that says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from cluster import RELEASE, ROOT, Platform, until

RUN_SECONDS = 900.0
CONFIGS = "storecast/configs"
WORKER = "app.kubernetes.io/component=prefect-worker-cpu"
PENDING = 60


@pytest.fixture(scope="module", autouse=True)
def _configs(platform: Platform) -> None:
    """Training configs with few pods, in the store: for both pools, for each, and a long one."""
    shipped = yaml.safe_load((ROOT / "configs" / "model_configs" / "lstm.yaml").read_text())
    longer = {"members": 1, "steps": 300, "warm_steps": 100, "checkpoint_steps": 10}
    with platform.store() as files:
        files.write(
            f"{CONFIGS}/long_lstm.yaml", yaml.safe_dump({**shipped, "params": longer, "profiles": {}})
        )
        for name, models in {
            "both": ["arima", "lstm"],
            "cpu": ["arima"],
            "gpu": ["lstm"],
            "long": [f"s3://{CONFIGS}/long_lstm.yaml"],
        }.items():
            config = {
                "name": name,
                "models": models,
                "profile": "smoke",
                "folds": 1,
                "gate": {"min_rows": 100},
            }
            files.write(f"{CONFIGS}/{name}.yaml", yaml.safe_dump(config))


def start(platform: Platform, seed: int, training: str = "both", **pods: object) -> str:
    """A small demo run on sales of its own, so that nothing of another run is found."""
    return platform.start("demo", seed=seed, training=f"s3://{CONFIGS}/{training}.yaml", pods=pods)


def message(run: dict[str, object]) -> str:
    """What a run's state says."""
    state = run["state"]
    assert isinstance(state, dict)
    return str(state["message"])


@contextmanager
def gpu_taken(platform: Platform) -> Iterator[None]:
    """A cluster whose GPU is taken: a pod that does nothing holds it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "holds-the-gpu"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "hold",
                    "image": "storecast/component:0.1.0",
                    "command": ["sleep", "3600"],
                    "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "64Mi", "cpu": "50m"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    apply(platform, pod)
    try:
        yield
    finally:
        platform.kubectl("delete", "pod", "holds-the-gpu", "--wait=true")


def apply(platform: Platform, thing: dict[str, object]) -> None:
    """`kubectl apply` of an object."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(thing, file)
        file.flush()
        platform.kubectl("apply", "-f", file.name)


@pytest.fixture(scope="module")
def ended(platform: Platform) -> dict[str, dict[str, Any]]:
    """Runs that have ended, by what was the matter; they wait for the most part, so two do it at once."""
    with platform.timeline.step("two runs at once: a stage out of memory, an image that does not exist"):
        missing = {"image": "storecast/nowhere:0"}
        started = {
            "out of memory": start(platform, 101, "cpu", cpu={"memory": "180Mi"}),
            "no such image": start(platform, 102, "cpu", cpu=missing, pending_seconds=30),
        }
        found = {what: platform.ended(run, 600) for what, run in started.items()}
    with gpu_taken(platform), platform.timeline.step("two at once without a GPU: one may train on the CPU"):
        started = {
            "no GPU": start(platform, 110, "gpu", pending_seconds=PENDING),
            "on the CPU": start(platform, 111, "gpu", pending_seconds=PENDING, gpu_fallback=True),
        }
        return found | {what: platform.ended(run, RUN_SECONDS) for what, run in started.items()}


def test_a_stage_without_enough_memory_is_named_as_such_with_the_cure(ended: dict[str, Any]) -> None:
    run = ended["out of memory"]
    assert run["state_type"] == "FAILED"
    assert "ran out of memory" in message(run)
    assert "give it more" in message(run)


def test_a_missing_image_is_named_before_long(ended: dict[str, Any]) -> None:
    run = ended["no such image"]
    assert run["state_type"] == "FAILED"
    assert "did not start within 30 s" in message(run)
    assert "storecast/nowhere:0" in message(run)


def test_without_a_gpu_a_run_fails_clearly_by_the_deadline(ended: dict[str, Any]) -> None:
    run = ended["no GPU"]
    assert run["state_type"] == "FAILED"
    assert f"did not start within {PENDING} s" in message(run)
    assert "gpu_fallback" in message(run)


def test_without_a_gpu_a_run_that_may_trains_on_the_cpu_pool(
    platform: Platform, ended: dict[str, Any]
) -> None:
    run = ended["on the CPU"]
    assert run["state_type"] == "COMPLETED", message(run)
    stages = platform.stages(run["id"])
    pools = [[r["work_pool_name"] for r in runs] for label, runs in stages.items() if "lstm" in label]
    assert sorted(pools) == [["cpu"], ["gpu", "cpu"]], "it waits for a GPU once"


def test_training_pods_killed_or_driven_off_their_node_are_followed_by_others_that_go_on(
    platform: Platform,
) -> None:
    node, before = f"{platform.cluster}-worker", len(platform.activations())
    with (
        platform.store() as files,
        platform.timeline.step("a training pod killed, the next one's node drained"),
    ):
        run = start(platform, 103, "long")
        killed = platform.stage_begins(run, "train lstm at 2023-07-15")
        until("a checkpoint in the store", lambda: files.find("storecast/storecast/work"), 120)
        platform.kubectl("delete", "pod", platform.pod_of(killed), "--grace-period=0", "--force")
        drained = platform.stage_begins(run, "train lstm at 2023-07-31")
        platform.kubectl(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", seconds=180
        )
        platform.kubectl("uncordon", node)
        platform.completed(run, RUN_SECONDS)
    stages = platform.stages(run)
    logs = "\n".join(platform.log(attempt["id"]) for attempt in stages["train lstm at 2023-07-15"])
    assert re.search(r"goes on from a checkpoint at step \d+ of 300", logs), logs
    driven = stages["train lstm at 2023-07-31"]
    assert [(r["id"] == drained, r["state_type"]) for r in driven] == [
        (True, "CRASHED"),
        (False, "COMPLETED"),
    ]
    made = [entry["id"] for entry in platform.activations()[before:]]
    assert len(set(made)) == len(made)


def test_a_run_whose_pod_is_gone_without_a_word_does_not_stay_running(platform: Platform) -> None:
    worker = f"deployment/{RELEASE}-prefect-worker-cpu"
    with platform.timeline.step("a driver gone with nobody to notice, marked for want of heartbeats"):
        platform.helm(
            "upgrade", RELEASE, "charts/storecast", "--reuse-values", "--set", "run.heartbeatSeconds=30"
        )
        until("every pod ready", platform.ready, 240, every=3)
        run = start(platform, 106)
        platform.stage_begins(run, "ingest")
        platform.kubectl("scale", worker, "--replicas=0")
        platform.kubectl("wait", "--for=delete", "pod", "--selector", WORKER, "--timeout=90s")
        platform.kubectl("delete", "job", "--selector", f"prefect.io/flow-run-id={run}")
        ended = platform.ended(run, 300)
        platform.kubectl("scale", worker, "--replicas=1")
    assert (ended["state_type"], message(ended)) == ("CRASHED", "no heartbeat for 90 s: its pod is gone")


def test_restarts_of_worker_server_mlflow_and_store_do_not_harm_a_run(platform: Platform) -> None:
    with platform.timeline.step("worker and Prefect's server restarted, store and MLflow away for a while"):
        run = start(platform, 104)
        platform.stage_begins(run, "train naive")
        platform.kubectl("rollout", "restart", f"deployment/{RELEASE}-prefect-worker-cpu")
        platform.stage_begins(run, "train arima")
        platform.kubectl("scale", f"statefulset/{RELEASE}-s3", "--replicas=0")
        platform.stage_begins(run, "", state="FAILED")
        platform.kubectl("scale", f"statefulset/{RELEASE}-s3", "--replicas=1")
        platform.stage_begins(run, "train lstm")
        platform.kubectl("rollout", "restart", f"deployment/{RELEASE}-prefect-server")
        platform.kubectl("scale", f"deployment/{RELEASE}-mlflow", "--replicas=0")
        platform.stage_begins(run, "register", RUN_SECONDS)
        platform.kubectl("scale", f"deployment/{RELEASE}-mlflow", "--replicas=1")
        platform.completed(run, RUN_SECONDS)
    until("every pod ready", platform.ready, 240, every=3)
