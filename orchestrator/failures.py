"""What has failed of late: stages' pods, and runs whose own pod or process is gone, each with a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

from orchestrator.api import connected
from orchestrator.pod_failures import GIVEN_UP, diagnoses, error_of, never_began
from orchestrator.runs import DRIVERS
from storecast.errors import StorecastError

STAGE = "stage"
ENDED_BADLY = (StateType.CRASHED, StateType.FAILED)
STOPPED = (StateType.CANCELLING, StateType.CANCELLED)
LOST_CURE = "its retry goes on where it stopped; if it happens again, look at the node's events and memory"


@dataclass(frozen=True)
class Failure:
    """A pod, or a run's own process, that failed.

    Attributes:
        run: id of its run.
        label: the stage with its shard, or the run's name.
        within: name of the run that the stage is of; "" for a run itself.
        pool: work pool; "" where it ran in a process.
        state: Prefect's name of the run's state.
        at: when it ended; None where that is not known.
        what: what happened, in one line.
        found: what Prefect and Kubernetes said of it.
        cure: what to do.
    """

    run: str
    label: str
    within: str
    pool: str
    state: str
    at: datetime | None
    what: str
    found: str
    cure: str


def latest(limit: int = 20) -> list[Failure]:
    """The last failures, the newest first.

    Raises:
        StoreError: the Prefect API cannot be reached.
    """
    with connected() as client:
        stages = _runs(client, (STAGE,), ENDED_BADLY, limit)
        stages += [run for run in _runs(client, (STAGE,), STOPPED, limit) if _message(run) == GIVEN_UP]
        drivers = _runs(client, DRIVERS, ENDED_BADLY[:1], limit)
        newest = sorted([*stages, *drivers], key=lambda run: str(run.end_time or run.updated), reverse=True)
        shown = newest[:limit]
        said, within = diagnoses(client, [run.id for run in shown]), _within(client, shown)
    return [_failure(run, said.get(run.id, ""), within.get(run.parent_task_run_id, "")) for run in shown]


def _failure(run: FlowRun, diagnosis: str, within: str) -> Failure:
    if _message(run) == GIVEN_UP:
        error: Exception = never_began(run, GIVEN_UP, diagnosis)
    else:
        error = error_of(run, run.name, diagnosis)
    what, found, cure = _lost(run), " ".join(part for part in (_message(run), diagnosis) if part), LOST_CURE
    if isinstance(error, StorecastError):
        what, found, cure = error.what, error.found, error.cure
    return Failure(
        run=str(run.id),
        label=run.name,
        within=within,
        pool=run.work_pool_name or "",
        state=(run.state.name or run.state.type.value) if run.state else "unknown",
        at=run.end_time or run.updated,
        what=what,
        found=found,
        cure=cure,
    )


def _lost(run: FlowRun) -> str:
    failed = run.state is not None and run.state.is_failed()
    return "the stage failed" if failed else "its pod or process was killed, evicted or lost its node"


def _message(run: FlowRun) -> str:
    return (run.state.message or "") if run.state else ""


def _runs(
    client: SyncPrefectClient, flows: Sequence[str], states: Sequence[StateType], limit: int
) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=limit,
    )


def _within(client: SyncPrefectClient, stages: Sequence[FlowRun]) -> dict[UUID | None, str]:
    """The name of the run that each stage's task belongs to, by the task."""
    tasks = [run.parent_task_run_id for run in stages if run.parent_task_run_id]
    if not tasks:
        return {}
    parents = client.read_task_runs(
        task_run_filter=TaskRunFilter(id=TaskRunFilterId(any_=tasks)),
        sort=TaskRunSort.EXPECTED_START_TIME_ASC,
        limit=len(tasks),
    )
    runs = {task.flow_run_id for task in parents if task.flow_run_id}
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
    found = (
        client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=len(runs))
        if runs
        else []
    )
    names = {run.id: run.name for run in found}
    return {task.id: names.get(task.flow_run_id, "") for task in parents if task.flow_run_id}
