"""Set up Prefect for an installation: work pools, deployments, and the automation that finds dead runs.

    python -m pipelines.register --platform platform.yaml

What is there already is brought to what the file says, so it may run as often as it likes.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from prefect import Flow
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from orchestrator.api import wait_for_api
from pipelines.demo import demo_flow
from pipelines.partitioned import partitioned_flow
from pipelines.pods import PodOptions
from pipelines.register_loop import register_loop
from pipelines.stage_flow import stage_flow
from pipelines.training import training_flow
from pipelines.tuning import tuning_flow
from pipelines.work_pools import PlatformConfig, PoolConfig, job_template
from storecast import __version__
from storecast.errors import StoreError
from storecast.store import uri as uris
from storecast.yaml_model import load_yaml_model

KIND = "kubernetes"
MISSED_HEARTBEATS = 3
RUNS, STAGES = "runs", "stages"
"""Work queues of a pool. Only stages count towards the pool's concurrency: runs wait for their stages, and
would wait for ever where runs alone fill the pool."""
STAGE_COMMAND = "python -m pipelines.stage_pod"
DEAD_RUNS = "Runs without a heartbeat have crashed"


def register(platform: PlatformConfig) -> None:
    """Bring Prefect to what an installation describes.

    Raises:
        StoreError: the Prefect API cannot be reached, or the workspace's bucket cannot be made.
    """
    make_workspace(platform.workspace)
    with get_client(sync_client=True) as client:
        wait_for_api(client)
        for name, pool in platform.pools.items():
            _pool(client, name, pool, platform.namespace)
            print(f"work pool   {name}: {pool.image}")
    for deployment in deployments(platform):
        deployment.apply()
        print(f"deployment  {deployment.flow_name}/{deployment.name}")
    _automation(platform.heartbeat_seconds)
    print(f"automation  {DEAD_RUNS}")
    register_loop(platform, (next(iter(platform.pools)), RUNS), pod_options(platform))


def deployments(platform: PlatformConfig) -> list[RunnerDeployment]:
    """What people and flows can start: training, the demo, and a stage on each pool."""
    first = next(iter(platform.pools))
    pods = pod_options(platform)
    driven: tuple[tuple[Flow[Any, Any], str, str], ...] = (
        (training_flow, "train", "Train and release a forecast."),
        (demo_flow, "demo", "Try the platform on synthetic sales."),
        (tuning_flow, "tune", "Choose a model's parameters."),
        (partitioned_flow, "partitioned", "Train a panel in partitions."),
    )
    found = [
        _deployment(driver, name, (first, RUNS), {"pods": pods}, about, platform.driver_variables)
        for driver, name, about in driven
    ]
    job = {"command": STAGE_COMMAND}
    return found + [
        _deployment(stage_flow, pool, (pool, STAGES), {}, "One stage in a pod.", job)
        for pool in platform.pools
    ]


def pod_options(platform: PlatformConfig) -> dict[str, Any]:
    """How the stages of a run use the pools, unless the run says otherwise."""
    return PodOptions(
        pending_seconds=platform.training.pending_deadline_seconds,
        gpu_fallback=platform.training.gpu_fallback,
    ).model_dump(mode="json")


def make_workspace(workspace: str) -> None:
    """Make the workspace's bucket or folder where it is missing, so that the first run finds it."""
    fs, path = uris.filesystem(workspace)
    bucket = path if uris.is_local(workspace) else path.split("/", 1)[0]
    try:
        fs.makedirs(bucket, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "the workspace's bucket cannot be made",
            where=workspace,
            found=str(error),
            cure="check the endpoint and the keys, or make the bucket by hand and give a user who may use it",
        ) from error


def _pool(client: SyncPrefectClient, name: str, pool: PoolConfig, namespace: str) -> None:
    template = job_template(pool, namespace)
    about = f"Storecast's pods on {'GPU' if pool.gpu.count else 'CPU'} nodes"
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        made = WorkPoolCreate(name=name, type=KIND, description=about, base_job_template=template)
        client.create_work_pool(made)
    client.update_work_pool(name, WorkPoolUpdate(description=about, base_job_template=template))
    for queue, limit in ((RUNS, None), (STAGES, pool.concurrency)):
        _queue(client, name, queue, limit)


def _queue(client: SyncPrefectClient, pool: str, name: str, limit: int | None) -> None:
    try:
        there = client.read_work_queue_by_name(name, work_pool_name=pool)
    except ObjectNotFound:
        there = client.create_work_queue(name, work_pool_name=pool)
    client.update_work_queue(there.id, concurrency_limit=limit)


def _deployment(
    flow: Flow[Any, Any],
    name: str,
    where: tuple[str, str],
    parameters: dict[str, Any],
    about: str,
    job: dict[str, Any],
) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        flow,
        name=name,
        parameters=parameters,
        description=about,
        version=__version__,
        work_pool_name=where[0],
        work_queue_name=where[1],
        job_variables=job,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _automation(heartbeat_seconds: int) -> None:
    """A run whose pod is gone without a word must not stay Running: it is marked as crashed."""
    silence = timedelta(seconds=MISSED_HEARTBEATS * heartbeat_seconds)
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        after={"prefect.flow-run.heartbeat"},
        expect={
            "prefect.flow-run.heartbeat",
            *(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")),
        },
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=silence,
    )
    message = f"no heartbeat for {silence.seconds} s: its pod is gone"
    wanted = Automation(
        name=DEAD_RUNS,
        trigger=trigger,
        actions=[ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)],
    )
    try:
        there = cast(Automation, Automation.read(name=DEAD_RUNS))
    except ValueError:
        wanted.create()
        return
    there.trigger, there.actions = wanted.trigger, wanted.actions
    there.update()


def main(
    platform: Annotated[Path, typer.Option(help="The installation's platform.yaml.", exists=True)],
) -> None:
    """Set up Prefect's work pools, deployments and automations."""
    register(load_yaml_model(platform, PlatformConfig))


if __name__ == "__main__":
    typer.run(main)
