"""Runs on a platform, through Prefect's API: start one, see how it gets on, cancel it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from orchestrator.api import SILENCE_SECONDS, RefusedError, connected, of_runs
from storecast.errors import ConfigError, StoreError

FLOWS = ("train", "demo", "tune", "partitioned")
"""What people may start."""
WATCH = "watch"
DRIVERS = (*FLOWS, "retrain", WATCH)
"""Besides, what the loop starts: trainings, and its passes."""
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Run:
    """A run: its id, name, state, what its state says, when it was started and for how long it has run."""

    id: str
    name: str
    state: str
    message: str
    started: datetime | None
    ended: bool
    seconds: float = 0.0

    @classmethod
    def of(cls, run: FlowRun) -> Run:
        """A run as Prefect describes it."""
        state = run.state
        return cls(
            str(run.id),
            run.name,
            state.name or state.type.value if state else "unknown",
            (state.message or "") if state else "",
            run.start_time or run.expected_start_time,
            _ended(run),
            run.total_run_time.total_seconds(),
        )


@dataclass(frozen=True)
class Stage:
    """A stage of a run: its id, label and state; two partitions have stages of the same label."""

    id: str
    label: str
    state: str


def start(
    flow: str, parameters: Mapping[str, Any], pods: Mapping[str, Any] | None = None, key: str = ""
) -> Run:
    """Start a run of a deployment.

    Args:
        flow: one of `FLOWS`.
        parameters: of the flow; what is not given is as the deployment says.
        pods: how stages run as pods; what is not given is as the deployment says.
        key: who asks again with the same one gets the run that was started the first time.

    Raises:
        StoreError: the Prefect API cannot be reached or has no such deployment.
    """
    with connected() as client:
        wanted = deployment(client, flow)
        given = dict(parameters)
        if pods:
            given["pods"] = {**wanted.parameters.get("pods", {}), **pods}
        made = client.create_flow_run_from_deployment(
            wanted.id, parameters=given, idempotency_key=key or None
        )
        return Run.of(made)


def latest(limit: int = 20) -> list[Run]:
    """The latest runs of `DRIVERS`, the newest first.

    Of the loop's passes, many a day, which would leave no place for trainings, those under way, the last that
    ended and the last that waits for a worker.
    """
    with connected() as client:
        trainings = _runs(client, [flow for flow in DRIVERS if flow != WATCH], limit)
        passes = _runs(client, [WATCH], limit)
    waiting = [run for run in passes if run.state and run.state.is_scheduled()]
    ended = [run for run in passes if _ended(run)]
    left_out = {run.id for run in (*waiting[1:], *ended[1:])}
    shown = [*trainings, *(run for run in passes if run.id not in left_out)]
    newest = sorted(shown, key=lambda run: str(run.expected_start_time), reverse=True)
    return [Run.of(run) for run in newest[:limit]]


def _runs(client: SyncPrefectClient, flows: list[str], limit: int) -> list[FlowRun]:
    """The latest runs of some flows, but for those below another run and those that a schedule has ahead."""
    due = {"before_": datetime.now(UTC) + timedelta(minutes=1)}  # the server's clock may be ahead of this one
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=flows)),
        flow_run_filter=FlowRunFilter(
            parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
            expected_start_time=FlowRunFilterExpectedStartTime.model_validate(due),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


def _ended(run: FlowRun) -> bool:
    return bool(run.state and run.state.is_final())


def cancel(run: str) -> Run:
    """Cancel a run and the stages it has under way; one that has ended stays as it is.

    The run itself comes first, since it begins no stage from then on (`pipelines.pods`); a stage that it was
    about to begin is found by the second look.
    """
    with connected() as client:
        found = read(client, run)
        _cancel(client, [found])
        for _ in range(2):
            _cancel(client, below(client, found.id))
        return Run.of(read(client, run))


def _cancel(client: SyncPrefectClient, some: list[FlowRun]) -> None:
    for each in some:
        if not (_ended(each) or is_cancelled(each.state)):
            client.set_flow_run_state(each.id, _ending(each), force=False)


def is_cancelled(state: State[Any] | None) -> bool:
    """Whether a run in a state is cancelled, or is to be."""
    return bool(state and (state.is_cancelled() or state.is_cancelling()))


def watch(
    run: str, away: Callable[[StoreError], None], seconds: float = POLL_SECONDS
) -> Iterator[tuple[Run, list[Stage]]]:
    """The run and its stages, again and again until it has ended; once it has answered, the API may be away.

    Args:
        run: its id.
        away: told once, each time that the API goes away.
        seconds: between two looks.

    Raises:
        ConfigError: there is no such run.
        StoreError: the API refuses, did not answer the first time, or is away for `SILENCE_SECONDS`.
    """
    heard, silent = -math.inf, False
    while True:
        try:
            with connected() as client:
                found = read(client, run)
                stages = [
                    Stage(str(r.id), r.name, (r.state.name or "") if r.state else "")
                    for r in below(client, found.id)
                ]
        except RefusedError:
            raise
        except StoreError as error:
            if time.monotonic() - heard > SILENCE_SECONDS:
                raise
            if not silent:
                away(error)
            silent = True
        else:
            heard, silent = time.monotonic(), False
            yield Run.of(found), stages
            if _ended(found):
                return
        time.sleep(seconds)


def deployment(client: SyncPrefectClient, flow: str) -> DeploymentResponse:
    """The deployment of one of `FLOWS`.

    Raises:
        StoreError: there is none.
    """
    try:
        return client.read_deployment_by_name(f"{flow}/{flow}")
    except ObjectNotFound as error:
        raise StoreError(
            f"Prefect has no deployment {flow}/{flow}",
            where=str(client.api_url),
            cure="on a platform its registration job makes them, on this machine storecast up",
        ) from error


def _ending(run: FlowRun) -> State[Any]:
    """What tells whoever runs it to stop; a run inside another one's process ends with that."""
    return Cancelling() if run.deployment_id else Cancelled()


def below(client: SyncPrefectClient, run: UUID) -> list[FlowRun]:
    """All runs below a run, at any depth."""

    def children(parents: list[UUID], limit: int, offset: int) -> list[FlowRun]:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=parents)),
            sort=FlowRunSort.START_TIME_ASC,
            limit=limit,
            offset=offset,
        )

    found: list[FlowRun] = []
    todo = [run]
    while todo:
        runs = of_runs(todo, children)
        found += runs
        todo = [each.id for each in runs]
    return found


def read(client: SyncPrefectClient, run: str) -> FlowRun:
    """A run by its id.

    Raises:
        ConfigError: there is no such run.
    """
    try:
        return client.read_flow_run(UUID(run))
    except (ValueError, ObjectNotFound) as error:
        raise ConfigError("there is no such run", found=run, cure="storecast runs list") from error
