"""A stage as a flow of its own: what a pod of a work pool runs."""

from __future__ import annotations

import logging
import time
from typing import Any

from prefect import flow, get_run_logger

from components.stage import progress
from pipelines.executor import call_stage
from storecast.store import uri as uris

LOG_SECONDS = 15.0
"""Progress is logged at most this often."""


@flow(name="stage", persist_result=False)
def stage_flow(stage: str, label: str, arguments: dict[str, Any], result: str) -> str:
    """Run a stage and write the URI of what it made.

    Args:
        stage: a name of `components.stages`.
        label: what people see.
        arguments: of the stage's function.
        result: URI of the file that takes the output's URI.
    """
    logging.getLogger("storecast").setLevel(logging.INFO)  # what stages say goes to the run's log, too
    logger, last = get_run_logger(), [time.monotonic()]

    def report(name: str, done: int, total: int) -> None:
        if total and time.monotonic() - last[0] > LOG_SECONDS:
            last[0] = time.monotonic()
            logger.info("%s: %d of %d (%.0f %%)", name, done, total, 100 * done / total)

    progress.reporter = report
    uri = call_stage(stage, label, arguments)
    uris.write_text(result, uri)
    logger.info("%s made %s", label, uri)
    return uri
