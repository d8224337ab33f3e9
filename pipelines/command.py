"""How a command runs a flow in its own process."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rich.console import Console

from pipelines import environment, own_prefect
from storecast.settings import load_settings


def run_flow(console: Console, flow: str, *arguments: object, options: Mapping[str, object] = {}) -> Any:
    """Run a flow on the settings' root, its last argument, and show how its stages get on; what it returns.

    Args:
        console: to show it on.
        flow: "module:name"; its module is imported while Prefect's server starts, and not before, since
            Prefect reads its settings when it is imported.
        arguments: of the flow, but for the root.
        options: further ones, by name.

    Raises:
        StoreError: Prefect does not answer.
        StorecastError: what the flow raises.
        KeyboardInterrupt: it was interrupted, which has been told.
    """
    settings = load_settings()
    environment.prepare(settings)
    with console.status("Starting Prefect"), own_prefect.prefect():
        from pipelines import lost_runs
        from pipelines.terminal import StageDisplay

        module, name = flow.split(":")
        run = getattr(import_module(module), name)
    with lost_runs.told_if_lost(settings), StageDisplay(console).showing():
        return run(*arguments, settings.root, **options)
