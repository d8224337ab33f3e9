"""The loop's part of an installation: deployments of `watch`, on a schedule, and of `retrain`, and the
automation that starts the one when the other asks for it."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.automations import Automation
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from pipelines.loop import retrain_flow, watch_flow
from pipelines.loop_records import RETRAIN
from pipelines.work_pools import PlatformConfig
from storecast import __version__

ON_EVENT = "Train when the loop asks for it"
TAKEN = ("decision", "dataset", "data", "policy", "workspace")
"""Parameters of `retrain` that the event carries."""


def register_loop(platform: PlatformConfig, queue: tuple[str, str], pods: dict[str, Any]) -> None:
    """Bring the loop's deployments and its automation to what an installation describes.

    Args:
        platform: the installation; without `loop` the watch has no schedule, and people start it.
        queue: work pool and work queue of flows.
        pods: how stages run as pods.
    """
    loop = platform.loop
    named = loop.model_dump(exclude={"cron", "timezone"}) if loop else {}
    schedule = Cron(loop.cron, timezone=loop.timezone) if loop else None
    job = platform.driver_variables
    watch = _deployment(watch_flow, queue, {**named, "by_event": True, "pods": pods}, schedule, job)
    retrain = _deployment(retrain_flow, queue, {"pods": pods}, None, job)
    for deployment in (watch, retrain):
        made = cast(UUID, deployment.apply())
        print(f"deployment  {deployment.flow_name}/{deployment.name}")
    _automation(made)
    print(f"automation  {ON_EVENT}")


def _deployment(
    flow: Flow[Any, Any],
    queue: tuple[str, str],
    parameters: dict[str, Any],
    schedule: Any,
    job: dict[str, Any],
) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        flow,
        name=flow.name,
        parameters=parameters,
        description=(flow.description or "").partition("\n")[0],
        version=__version__,
        schedules=[schedule] if schedule else [],
        work_pool_name=queue[0],
        work_queue_name=queue[1],
        job_variables=job,
        concurrency_limit=1,  # two passes at once would ask for the same training
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _automation(retrain: UUID) -> None:
    """On the event, a run of `retrain` with what the event carries."""
    parameters = {
        name: {"__prefect_kind": "jinja", "template": "{{ event.payload." + name + " }}"} for name in TAKEN
    }
    wanted = Automation(
        name=ON_EVENT,
        trigger=EventTrigger(expect={RETRAIN}, posture=Posture.Reactive, threshold=1),
        actions=[
            RunDeployment(source="selected", deployment_id=retrain, parameters=parameters, job_variables=None)
        ],
    )
    try:
        there = cast(Automation, Automation.read(name=ON_EVENT))
    except ValueError:
        wanted.create()
        return
    there.trigger, there.actions = wanted.trigger, wanted.actions
    there.update()
