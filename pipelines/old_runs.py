"""Prefect's flow runs that ended long ago: how many there are, and their removal."""

from __future__ import annotations

from datetime import datetime

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from orchestrator.api import PAGE, connected, pages

ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


def count_before(when: datetime) -> int:
    """How many flow runs ended before a time.

    Raises:
        StoreError: the Prefect API cannot be reached.
    """
    with connected() as client:
        return sum(len(page) for page in pages(lambda limit, offset: _before(client, when, limit, offset)))


def delete_before(when: datetime) -> int:
    """Delete the flow runs that ended before a time, with their tasks and logs; how many.

    Raises:
        StoreError: the Prefect API cannot be reached; what was deleted stays so.
    """
    deleted = 0
    with connected() as client:
        while some := _before(client, when, PAGE, 0):
            for run in some:
                try:
                    client.delete_flow_run(run.id)
                except ObjectNotFound:
                    continue  # somebody else was first
            deleted += len(some)
    return deleted


def _before(client: SyncPrefectClient, when: datetime, limit: int, offset: int) -> list[FlowRun]:
    wanted = FlowRunFilter(
        end_time=FlowRunFilterEndTime.model_validate({"before_": when}),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ENDED)),
    )
    return client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=limit, offset=offset
    )
