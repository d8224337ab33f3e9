"""The Kubeflow pipeline, run by KFP itself in containers on this machine, gets from raw files to a release.

Needs Docker and the images of `make images`.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from pipelines.kfp_pipeline import Containers, compile_pipeline
from pipelines.plan import plan_training
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore
from storecast.synthetic import write_raw

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
TAG = os.environ.get("IMAGE_TAG", VERSION)
CONTAINERS = Containers(f"storecast/component:{TAG}", f"storecast/train-gpu:{TAG}", gpus=0)
TRAINING = """
name: small
models: [naive, gbm, {folder}/lstm.yaml]
profile: quick
folds: 1
gate: {{min_rows: 1}}
"""
LSTM = """
name: lstm
class: storecast.models.lstm:Lstm
gpu: true
params: {hidden: 8, width: 8, batch: 32, steps: 20, warm_steps: 10}
"""


def need_images() -> None:
    for image in (CONTAINERS.image, CONTAINERS.train_image):
        found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
        if found.returncode:
            pytest.fail(f"{found.stderr.decode().strip()}\nBuild {image} first: make images")


@pytest.mark.filterwarnings("ignore:Task .* have no effect in the current local runner")
def test_the_pipeline_runs_in_containers_to_a_release(tmp_path: Path) -> None:
    need_images()
    from kfp import components, local

    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=300)
    (tmp_path / "lstm.yaml").write_text(LSTM)
    (tmp_path / "small.yaml").write_text(TRAINING.format(folder=tmp_path))
    compile_pipeline(plan_training(str(tmp_path / "small.yaml")), CONTAINERS, tmp_path / "pipeline.yaml")
    user = f"{os.getuid()}:{os.getgid()}"
    runner = local.DockerRunner(
        entrypoint=[""],  # KFP's command is the whole of it, as in a pod
        user=user,
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        tmpfs={"/tmp": "mode=1777", "/work": "mode=1777"},  # noqa: S108
        environment={"STORECAST_HOME": str(tmp_path / "home")},
    )
    local.init(runner=runner, pipeline_root=str(tmp_path))
    pipeline = components.load_component_from_file(str(tmp_path / "pipeline.yaml"))
    workspace = str(tmp_path / "workspace")
    pipeline(dataset="synthetic", data=str(tmp_path / "raw"), workspace=workspace)

    current = ReleaseStore(DatasetStore(workspace), "synthetic").current()
    assert current
    assert current.about["series"] == 4
    assert set(current.about["rmsle_last_fold"]) >= {"naive", "gbm", "lstm", "blend"}
