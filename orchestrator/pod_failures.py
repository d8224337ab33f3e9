"""Why a stage's pod failed, in words that say what to do: from its run's state and Kubernetes' diagnoses.

Prefect's Kubernetes worker writes what it sees of a pod (out of memory, no image, no node) to the run's log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterLevel
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort

from storecast import errors
from storecast.errors import StorecastError, StoreError

OUT_OF_MEMORY = re.compile(r"OOMKilled|out-of-memory", re.IGNORECASE)
LATE_SECONDS = 15.0
"""The worker sees how a pod ended some seconds after the run's own process has reported it."""
WARNING, MOST_LOGS = 30, 200
GIVEN_UP = "its pod did not start in time"
"""What the state of a run says whose pod did not start by its deadline."""
DIAGNOSES = re.compile(
    r"OOMKilled|Image pull failed|crash-looping|evicted|cannot be scheduled|schedul", re.IGNORECASE
)


class NotStartedError(StorecastError):
    """A stage's pod could not start by its deadline: no node for it, or no image."""


class OutOfMemoryError(StorecastError):
    """A stage's pod took more memory than it may; the same again would end the same way."""


class StageFailedError(StorecastError):
    """A stage found something wrong with data or settings; the same again would end the same way."""


class PodLostError(Exception):
    """A stage's pod was killed, evicted or lost its node; another one goes on where it stopped."""


def not_started(run: FlowRun, seconds: int) -> NotStartedError:
    """The error of a pod that did not start by a deadline."""
    return never_began(run, f"the pod did not start within {seconds} s", _diagnosis(run))


def never_began(run: FlowRun, what: str, diagnosis: str) -> NotStartedError:
    """The error of a pod that did not start, with what Kubernetes said of it."""
    return NotStartedError(
        what,
        where=run.name,
        expected="a node with room for it, and its image",
        found=diagnosis or "no word from Kubernetes; is the pool's worker running?",
        cure="see the cause above; more or larger nodes, smaller requests, a pool's image or, for a GPU, "
        "`gpu_fallback` to train without one",
    )


def failure_of(run: FlowRun, label: str) -> Exception:
    """The error of a stage whose run ended without success: one worth retrying, or one that is not.

    Waits some seconds for what Kubernetes says of a crash.
    """
    crashed = run.state is not None and run.state.is_crashed()
    return error_of(run, label, _diagnosis(run, LATE_SECONDS if crashed else 0.0))


def error_of(run: FlowRun, label: str, diagnosis: str) -> Exception:
    """The same, with what Kubernetes said of the pod ("": nothing)."""
    message = (run.state.message or "") if run.state else ""
    if OUT_OF_MEMORY.search(diagnosis):
        return OutOfMemoryError(
            "the pod was killed because it ran out of memory",
            where=label,
            found=diagnosis,
            cure="give it more (the run's option `memory`, or the pool's limit), make shards smaller, "
            "or cut the panel (`--partition`)",
        )
    named = re.search(r"\b(\w+Error): ", message)
    kind = getattr(errors, named.group(1), None) if named else None
    if isinstance(kind, type) and issubclass(kind, StorecastError) and not issubclass(kind, StoreError):
        return StageFailedError(message, where=label)
    if run.state and run.state.is_cancelled():
        return was_cancelled(label)
    return PodLostError("; ".join(part for part in (f"{label}: {message}", diagnosis) if part))


def was_cancelled(label: str) -> StageFailedError:
    """The error of a stage that was cancelled, or did not begin because its run was."""
    return StageFailedError("the stage's run was cancelled", where=label, cure="start the run again")


def diagnoses(client: SyncPrefectClient, runs: Sequence[UUID]) -> dict[UUID, str]:
    """The last thing that Kubernetes said was wrong with each run, as far as it said something.

    Args:
        client: the Prefect API.
        runs: their ids.
    """
    wanted = LogFilter(
        flow_run_id=LogFilterFlowRunId(any_=list(runs)), level=LogFilterLevel.model_validate({"ge_": WARNING})
    )
    logs = client.read_logs(wanted, limit=MOST_LOGS, offset=0, sort=LogSort.TIMESTAMP_DESC) if runs else []
    found: dict[UUID, str] = {}
    for log in logs:
        if log.flow_run_id and DIAGNOSES.search(log.message):
            found.setdefault(log.flow_run_id, " ".join(log.message.split()))
    return found


def _diagnosis(run: FlowRun, seconds: float = 0.0) -> str:
    """What Kubernetes said was wrong with one run, or "" where it says nothing in time."""
    deadline = time.monotonic() + seconds
    while True:
        with get_client(sync_client=True) as client:
            found = diagnoses(client, [run.id]).get(run.id, "")
        if found or time.monotonic() >= deadline:
            return found
        time.sleep(1)
