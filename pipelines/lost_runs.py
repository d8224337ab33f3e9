"""Flow runs of commands on this machine that ended without a word: killed, out of memory, or without power.

A command holds a lock for as long as it lives, and its flow runs carry the lock's name as a tag. Whoever
finds the lock free marks what still counts as running under that name as crashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from prefect import tags
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Crashed

from orchestrator.api import connected, pages
from storecast.settings import Settings
from storecast.store import locks

UNDER_WAY = [StateType.PENDING, StateType.RUNNING]
MESSAGE = "its process ended without a word: it was killed, or ran out of memory"


@contextmanager
def told_if_lost(settings: Settings) -> Iterator[None]:
    """Have the block's flow runs marked as crashed if this process ends without a word; earlier ones are now.

    After an error the lock's file stays, and the next command looks whether something still seems to run.

    Raises:
        StoreError: the Prefect API cannot be reached, where there are earlier ones.
    """
    mark(settings)
    file = settings.run_folder / f"command-{uuid4().hex[:8]}"
    with locks.locked(file), tags(file.name):
        yield
        file.unlink(missing_ok=True)


def mark(settings: Settings) -> None:
    """Mark flow runs as crashed whose command on this machine has ended without a word.

    Raises:
        StoreError: the Prefect API cannot be reached, where there are some.
    """
    for file in sorted(settings.run_folder.glob("command-*")):
        with locks.locked(file, locks.ALONE | locks.AT_ONCE) as free:
            if free:
                with connected() as client:
                    _mark(client, file.name)
                file.unlink(missing_ok=True)


def _mark(client: SyncPrefectClient, name: str) -> None:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[name]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)),
    )

    def some(limit: int, offset: int) -> list[FlowRun]:
        return client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.START_TIME_ASC, limit=limit, offset=offset
        )

    for run in [run for page in pages(some) for run in page]:
        client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
