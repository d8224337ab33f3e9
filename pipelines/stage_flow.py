"""A stage as a flow of its own: what a pod of a work pool runs."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from pipelines.executor import call_stage
from pipelines.progress import shown_on_the_run
from storecast.store import uri as uris


@flow(name="stage", persist_result=False)
def stage_flow(stage: str, label: str, arguments: dict[str, Any], result: str) -> str:
    """Run a stage and write the URI of what it made.

    Args:
        stage: a name of `components.stages`.
        label: what people see.
        arguments: of the stage's function.
        result: URI of the file that takes the output's URI.
    """
    with shown_on_the_run():
        uri = call_stage(stage, label, arguments)
    uris.write_text(result, uri)
    get_run_logger().info("%s made %s", label, uri)
    return uri
