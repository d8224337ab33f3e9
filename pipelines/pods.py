"""Stages as pods: each is a run of the deployment `stage/cpu` or `stage/gpu`, which a worker starts as a job.

A stage's pod writes the URI of what it made to the workspace, under a name that this run and the stage's
label give. So a flow that was moved to another pod finds the stages it had started, instead of starting them
anew, and an attempt that was killed is followed by another, which goes on where the first stopped.

A pod that waits while others of its run work in the same pool waits for the room that they take: the deadline
for a pod to start counts from when none of them works.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import TaskRunContext
from prefect.deployments import run_deployment
from prefect.futures import PrefectFuture
from prefect.states import Cancelling
from pydantic import BaseModel, ConfigDict, Field

from components.stage import open_store
from orchestrator.api import SILENCE_SECONDS
from orchestrator.pod_failures import GIVEN_UP, NotStartedError, failure_of, not_started, was_cancelled
from orchestrator.runs import is_cancelled
from pipelines.executor import Argument, Executor, InProcess, Made, stage_task
from storecast.store import uri as uris

MOST_WAITING = 512
"""Stages that may wait for others at a time; a waiting one costs a thread."""
POLL_SECONDS = 2.0
RETRY_DELAYS = [5.0, 20.0, 60.0, 120.0, 240.0]
"""Seconds before a stage gets another pod."""


class PodResources(BaseModel):
    """What the pods of a pool ask for; empty: as the work pool says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(default="", title="Image", description="Such as storecast/component:0.1.0.")
    cpu: str = Field(default="", title="CPU request", description="Cores, such as 2 or 500m.")
    memory: str = Field(default="", title="Memory limit", description="Such as 4Gi; more is killed.")

    def variables(self) -> dict[str, Any]:
        """The work pool's variables that differ from its defaults."""
        given = {"image": self.image, "cpu_request": self.cpu, "memory_limit": self.memory}
        if self.memory:
            given["memory_request"] = self.memory
        return {name: value for name, value in given.items() if value}


class PodOptions(BaseModel):
    """How a training run uses the work pools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard_size: int | None = Field(
        default=None, ge=1, title="Shard size", description="Series per pod of a local model."
    )
    at_once: int = Field(default=8, ge=1, le=MOST_WAITING, title="Pods at once", description="At most.")
    cpu: PodResources = Field(default_factory=PodResources, title="Pool cpu")
    gpu: PodResources = Field(default_factory=PodResources, title="Pool gpu")
    gpu_fallback: bool = Field(
        default=False,
        title="Train without a GPU where none can be had",
        description="Stages whose GPU pod cannot start by the deadline then run on pool cpu.",
    )
    pending_seconds: int = Field(
        default=300, ge=1, title="Deadline for a pod to start", description="In seconds."
    )


@dataclass(frozen=True)
class _Uri:
    """What a stage's task gives, as what the executor promises."""

    future: PrefectFuture[str]
    needs: tuple[Made, ...]

    def result(self) -> str:
        """Wait for the stage; its URI. Where a stage that it needs has failed, that one's error is raised."""
        try:
            return self.future.result()
        except Exception:
            for made in self.needs:
                made.result()
            raise


class Pods:
    """Each stage in a pod of its own, side by side as far as they do not need each other.

    Where stages may do without a GPU, one that waited for it in vain has waited for all that come after it.
    """

    fans_out = True

    def __init__(self, options: PodOptions) -> None:
        self.options = options
        self.places = threading.BoundedSemaphore(options.at_once)
        self.at_work: dict[str, set[UUID]] = {"cpu": set(), "gpu": set()}
        self.no_gpu = False

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        """Start the stage's pod as soon as what it needs is made."""
        work = stage_task(self._run, label, RETRY_DELAYS)
        given = {name: _futures(argument) for name, argument in arguments.items()}
        before = [_futures(made) for made in after]
        submit: Callable[..., PrefectFuture[str]] = work.submit
        future = submit(stage, label, gpu, given, wait_for=before)
        return _Uri(future, (*after, *(made for value in arguments.values() for made in _made(value))))

    def _run(self, stage: str, label: str, gpu: bool, arguments: Mapping[str, Any]) -> str:
        """In a thread of the flow: run one stage in a pod and wait for it."""
        with self.places:
            if gpu and not self.no_gpu:
                try:
                    return self._pod("gpu", stage, label, arguments)
                except NotStartedError:
                    if not self.options.gpu_fallback:
                        raise
                    self.no_gpu = True
            return self._pod("cpu", stage, label, arguments)

    def _pod(self, pool: str, stage: str, label: str, arguments: Mapping[str, Any]) -> str:
        context = TaskRunContext.get()
        if context is None:
            raise RuntimeError("stages run in pods only from within a flow")
        mine = context.task_run.flow_run_id
        name = f"{mine}/{re.sub(r'[^a-z0-9-]+', '-', label.lower())}-{pool}"
        result = uris.join(open_store(str(arguments["workspace"])).root, "runs", name)
        parameters = {"stage": stage, "label": label, "arguments": dict(arguments), "result": result}
        if mine and _cancelled(mine):
            raise was_cancelled(label)
        started = self._started(pool, label, name, parameters).id
        try:
            ended = self._ended(started, self.at_work[pool])
        finally:
            self.at_work[pool].discard(started)
        if ended.state is None or not ended.state.is_completed():
            raise failure_of(ended, label)
        return uris.read_text(result).strip()

    def _started(self, pool: str, label: str, name: str, parameters: Mapping[str, Any]) -> FlowRun:
        """The stage's run: one that is under way or did well, or else a new one."""
        resources = self.options.gpu if pool == "gpu" else self.options.cpu
        for attempt in count(1):
            run = run_deployment(
                f"stage/{pool}",
                parameters=dict(parameters),
                job_variables=resources.variables(),
                flow_run_name=label,
                idempotency_key=f"{name}-{attempt}",
                timeout=0,
            )
            started = cast(FlowRun, run)
            if started.state is None or not started.state.is_final() or started.state.is_completed():
                return started
        raise AssertionError("unreachable: the attempts have no end")

    def _ended(self, run_id: UUID, at_work: set[UUID]) -> FlowRun:
        """The run once it has ended; a pod that cannot start by the deadline is given up.

        The Prefect API may be away for a while: what it says when it is back counts. While it works, the run
        is one of `at_work`, this flow's runs in the same pool.
        """
        heard = time.monotonic()
        pending_since: float | None = None
        with get_client(sync_client=True) as client:  # one for all the time: making it takes 30 ms of a core
            while True:
                now = time.monotonic()
                try:
                    run = client.read_flow_run(run_id)
                except httpx.HTTPError:
                    if now - heard > SILENCE_SECONDS:
                        raise
                else:
                    heard = now
                    if run.state is not None and run.state.is_final():
                        return run
                    kind = run.state.type if run.state is not None else None
                    if kind == StateType.RUNNING:
                        at_work.add(run_id)
                    waits = kind == StateType.PENDING and not at_work
                    pending_since = (pending_since or now) if waits else None
                    if pending_since and now - pending_since > self.options.pending_seconds:
                        raise self._give_up(run)
                time.sleep(POLL_SECONDS)

    def _give_up(self, run: FlowRun) -> NotStartedError:
        """Cancel a run whose pod does not start; the error that says why it did not."""
        error = not_started(run, self.options.pending_seconds)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling(message=GIVEN_UP), force=True)
        return error


def _cancelled(run: UUID) -> bool:
    """Whether a run, or the run above it that this process was started for, is cancelled or is to be."""
    asked = {run, UUID(os.environ.get("PREFECT__FLOW_RUN_ID", str(run)))}
    with get_client(sync_client=True) as client:
        return any(is_cancelled(client.read_flow_run(each).state) for each in asked)


def executor_for(pods: PodOptions | None) -> Executor:
    """Pods as the options say; without options, this process."""
    return Pods(pods) if pods else InProcess()


def _made(argument: Argument) -> list[Made]:
    """What other stages make of an argument."""
    items = argument if isinstance(argument, Sequence) else [argument]
    return [item for item in items if not isinstance(item, str)]


def _futures(argument: Argument) -> Any:
    """Prefect's own futures in an argument, so that it waits for them and draws the edges."""
    if isinstance(argument, _Uri):
        return argument.future
    if isinstance(argument, str):
        return argument
    if isinstance(argument, Sequence):
        return [_futures(item) for item in argument]
    return argument.result()
