"""What a run is made of: its stages with shards and progress, what it logged, and where it is to be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import ArtifactSort, LogSort, TaskRunSort

from orchestrator.api import PAGE, connected, of_runs
from orchestrator.runs import Run, below, deployment, read

SHARD = re.compile(r"(?P<stage>.+), shard (?P<number>\d+) of (?P<count>\d+)")
VERDICTS = {"partitioned": ("partitions",)}
"""Artifacts that say what a run of a flow came to; of others, `VERDICT`."""
VERDICT = ("decision", "tuning")


@dataclass(frozen=True)
class StageRun:
    """A stage of a run, or one shard of it.

    Attributes:
        stage: the stage's label, without the shard.
        shard: "2 of 8", or "" for a whole stage.
        state: Prefect's name of its state.
        started: when it began, None before.
        seconds: how long it has run.
        progress: percent done, None where it does not say.
    """

    stage: str
    shard: str
    state: str
    started: datetime | None
    seconds: float
    progress: float | None


@dataclass(frozen=True)
class LogLine:
    """A line of a run's log: `of` is the stage or run that wrote it."""

    at: datetime
    level: int
    of: str
    text: str


@dataclass(frozen=True)
class RunDetails:
    """A run as a whole.

    Attributes:
        run: its id, name and state.
        flow: one of `orchestrator.runs.DRIVERS`.
        parameters: what it was given.
        stages: in the order in which they began.
        log: the last lines, the oldest first.
        verdict: the gate's reasons and what followed, what a tuning found, or the partitions' releases, as
            Markdown; "" before.
        trials: of a tuning, a row each, the best first; of other runs none.
    """

    run: Run
    flow: str
    parameters: dict[str, Any]
    stages: list[StageRun]
    log: list[LogLine]
    verdict: str
    trials: list[dict[str, Any]]


def details(run: str, log_lines: int = PAGE) -> RunDetails:
    """A run with its stages and the last lines of its log.

    Raises:
        ConfigError: there is no such run.
        StoreError: the Prefect API cannot be reached.
    """
    with connected() as client:
        found = read(client, run)
        tree = [found, *below(client, found.id)]
        flow = client.read_flow(found.flow_id).name
        tasks, parents = _tasks(client, tree)
        progress = _progress(client, tree, parents)
        stages = [_stage(task, progress) for task in tasks]
        log = _log(client, tree, tasks, log_lines)
        verdict = _latest(client, tree, VERDICTS.get(flow, VERDICT))
        trials = json.loads(_latest(client, tree, ("trials",)) or "[]")
    return RunDetails(Run.of(found), flow, dict(found.parameters), stages, log, verdict, trials)


def form_of(flow: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON schema of what a run of a flow can be given, and what its deployment gives.

    Raises:
        StoreError: the Prefect API cannot be reached, or has no such deployment.
    """
    with connected() as client:
        found = deployment(client, flow)
        return dict(found.parameter_openapi_schema or {}), dict(found.parameters)


def _tasks(client: SyncPrefectClient, tree: Sequence[FlowRun]) -> tuple[list[TaskRun], dict[UUID, UUID]]:
    """The stages' task runs, and of every run below another that one: a task run stands for it there."""

    def read(runs: list[UUID], limit: int, offset: int) -> list[TaskRun]:
        return client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=runs)),
            sort=TaskRunSort.EXPECTED_START_TIME_ASC,
            limit=limit,
            offset=offset,
        )

    found = of_runs([run.id for run in tree], read)
    tasks, parents = [], dict[UUID, UUID]()
    for task in found:
        below = task.state.state_details.child_flow_run_id if task.state else None
        if below and task.flow_run_id:
            parents[below] = task.flow_run_id
        else:
            tasks.append(task)
    return tasks, parents


def _stage(task: TaskRun, progress: Mapping[tuple[UUID | None, str], float]) -> StageRun:
    shard = SHARD.fullmatch(task.name)
    return StageRun(
        stage=shard["stage"] if shard else task.name,
        shard=f"{shard['number']} of {shard['count']}" if shard else "",
        state=(task.state.name or task.state.type.value) if task.state else "unknown",
        started=task.start_time,
        seconds=task.estimated_run_time.total_seconds(),
        progress=progress.get((task.flow_run_id, task.name)),
    )


def _progress(
    client: SyncPrefectClient, tree: Sequence[FlowRun], parents: Mapping[UUID, UUID]
) -> dict[tuple[UUID | None, str], float]:
    """Percent by run and label, since two partitions' stages are called the same.

    Stages write it as Prefect's progress artifacts: in process those of the stage's own run, in a pod those
    of a run below that one, which has the stage's label for a name. Of several attempts the latest counts.
    """
    wanted = ArtifactFilter(type=ArtifactFilterType(any_=["progress"]))
    names = {run.id: run.name for run in tree}
    found: dict[tuple[UUID | None, str], float] = {}
    for each in _artifacts(client, list(names), wanted):
        run, label = UUID(each["flow_run_id"]), str(each["description"])
        if each["data"] is not None:
            of = parents.get(run, run) if names[run] == label else run
            found.setdefault((of, label), float(each["data"]))
    return found


def _latest(client: SyncPrefectClient, tree: Sequence[FlowRun], keys: Sequence[str]) -> str:
    """The newest artifact of these keys; "" where there is none."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=list(keys)))
    found = _artifacts(client, [run.id for run in tree], wanted)
    return str(found[0]["data"]) if found else ""


def _artifacts(
    client: SyncPrefectClient, runs: Sequence[UUID], wanted: ArtifactFilter
) -> list[dict[str, Any]]:
    """The latest artifacts of some runs.

    The client's own method always sends a filter of task runs, which leaves out what a flow made itself.
    """
    given = wanted.model_copy(update={"flow_run_id": ArtifactFilterFlowRunId(any_=list(runs))})
    body = {
        "artifacts": given.model_dump(mode="json", exclude_unset=True),
        "sort": ArtifactSort.UPDATED_DESC.value,
        "limit": PAGE,
    }
    found: list[dict[str, Any]] = client.request("POST", "/artifacts/filter", json=body).json()
    return found


def _log(
    client: SyncPrefectClient, tree: Sequence[FlowRun], tasks: Sequence[TaskRun], lines: int
) -> list[LogLine]:
    names: dict[UUID | None, str] = {each.id: each.name for each in tree}
    names |= {each.id: each.name for each in tasks}
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[each.id for each in tree]))
    found = client.read_logs(log_filter=wanted, limit=lines, offset=0, sort=LogSort.TIMESTAMP_DESC)
    return [
        LogLine(line.timestamp, line.level, names.get(line.task_run_id or line.flow_run_id, ""), line.message)
        for line in reversed(found)
    ]
