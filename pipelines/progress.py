"""What stages report, on a run's page: a progress artifact and, now and then, a line of the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException
from prefect.runtime import deployment

from components.stage import progress

ARTIFACT_SECONDS, LOG_SECONDS = 3.0, 15.0
"""How often, at most, progress is written."""


@dataclass
class Written:
    """What was written of a stage: its artifact, when that changed, and when the last line was logged."""

    artifact: UUID
    at: float
    logged: float


@dataclass
class Reporter:
    """Writes the progress of stages to Prefect; must be called from within a run."""

    written: dict[str, Written] = field(default_factory=dict)

    def __call__(self, label: str, done: int, total: int) -> None:
        """A stage has done so many of so many."""
        if not total:
            return
        try:
            self._write(label, done, total)
        except (httpx.HTTPError, PrefectException) as error:
            logging.getLogger(__name__).debug("progress of %s was not written: %s", label, error)

    def _write(self, label: str, done: int, total: int) -> None:
        now, percent = time.monotonic(), 100.0 * done / total
        there = self.written.get(label)
        if there is None:
            made = cast(UUID, create_progress_artifact(percent, description=label))
            self.written[label] = Written(made, now, now)
            return
        if now - there.at > ARTIFACT_SECONDS or done == total:
            update_progress_artifact(there.artifact, percent, description=label)
            there.at = now
        if now - there.logged > LOG_SECONDS:
            there.logged = now
            get_run_logger().info("%s: %d of %d (%.0f %%)", label, done, total, percent)


@contextmanager
def shown_on_the_run() -> Iterator[None]:
    """In a run of a deployment, which nobody watches in a terminal: report to Prefect what stages report."""
    if not deployment.id:
        yield
        return
    logging.getLogger("storecast").setLevel(logging.INFO)  # what stages say goes to the run's log, too
    before, progress.reporter = progress.reporter, Reporter()
    try:
        yield
    finally:
        progress.reporter = before
