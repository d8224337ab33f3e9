"""A stage as a flow of its own: what a pod of a work pool runs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prefect import flow, get_run_logger
from prefect.exceptions import TerminationSignal

from pipelines.executor import call_stage
from pipelines.progress import shown_on_the_run
from storecast.store import uri as uris

AGAIN_SECONDS = 3.0
"""After which a stage that was told to go, and did not, is told again; a pod has 30 seconds by default."""


@flow(name="stage", persist_result=False)
def stage_flow(stage: str, label: str, arguments: dict[str, Any], result: str) -> str:
    """Run a stage and write the URI of what it made.

    Args:
        stage: a name of `components.stages`.
        label: what people see.
        arguments: of the stage's function.
        result: URI of the file that takes the output's URI.
    """
    with ended_when_told(), shown_on_the_run():
        uri = call_stage(stage, label, arguments)
    uris.write_text(result, uri)
    get_run_logger().info("%s made %s", label, uri)
    return uri


@contextmanager
def ended_when_told() -> Iterator[None]:
    """SIGTERM ends the flow as Prefect has it, whatever a library on the way made of it.

    Prefect raises an exception wherever the process is when SIGTERM comes, and marks the run as crashed when
    that arrives at the flow's end, so that another pod follows. Compiled code on the way may keep it to
    itself, and the stage would go on; or make an error of its own of it (pydantic's does when it builds a
    model), and the run would have failed for good. So it is raised again until the stage ends because of it,
    and an error that comes after it is taken as the same.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    told = False

    def tell(_: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        if not _is_ending(sys.exception()):
            handler(signal.SIGTERM, frame)

    signal.signal(signal.SIGTERM, tell)
    alarm = signal.signal(signal.SIGALRM, tell)
    try:
        yield
    except Exception as error:
        if told:
            raise TerminationSignal(signal.SIGTERM) from error
        raise
    finally:
        if told:
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, handler)


def _is_ending(error: BaseException | None) -> bool:
    """Whether what is being handled comes of the signal: then the stage is putting away what it has."""
    while error is not None and not isinstance(error, TerminationSignal):
        error = error.__context__
    return error is not None
