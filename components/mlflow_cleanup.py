"""Old runs in MLflow: which may go, and deleting them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime

from components.mlflow_client import QUIET, clear_errors, connect, masked, served, tracking_uri
from components.mlflow_registry import BUNDLE_TAG
from storecast.errors import StoreError
from storecast.settings import Settings


def runs_before(settings: Settings, when: datetime, bundles: Sequence[str]) -> list[str]:
    """Ids of our runs that ended before a time, without those of models in use.

    In use are the versions with an alias, and those of the given bundles (by their digest). Runs that were
    marked as deleted count where it is for us to remove them.
    """
    from mlflow.entities import ViewType

    view = ViewType.ACTIVE_ONLY if served(settings) else ViewType.ALL
    with clear_errors(settings):
        client = connect(settings)
        used: set[str | None] = set()
        for model in client.search_registered_models():
            for alias in model.aliases.values():
                used.add(client.get_model_version(model.name, str(alias)).run_id)
            for version in client.search_model_versions(f"name = '{model.name}'"):
                if version.tags.get(BUNDLE_TAG) in bundles:
                    used.add(version.run_id)
        ours = [e.experiment_id for e in client.search_experiments() if e.name.startswith("storecast-")]
        ended = f"attributes.end_time < {int(when.timestamp() * 1000)}"
        found: list[str] = []
        token: str | None = None
        while ours:
            some = client.search_runs(ours, ended, view, 1000, page_token=token)
            found += [run.info.run_id for run in some if run.info.run_id not in used and run.info.end_time]
            token = some.token
            if not token:
                break
        return found


def delete_runs(settings: Settings, runs: Sequence[str]) -> None:
    """Delete runs with their artifacts. A server only marks them: its own `mlflow gc` removes them.

    Raises:
        StoreError: MLflow cannot be reached, or cannot remove what was marked.
    """
    if not runs:
        return
    with clear_errors(settings):
        client = connect(settings)
        for run_id in runs:
            if client.get_run(run_id).info.lifecycle_stage == "active":
                client.delete_run(run_id)
    if served(settings):
        return
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", tracking_uri(settings)]
    done = subprocess.run(  # noqa: S603 (our own Python)
        [*command, "--run-ids", ",".join(runs)],
        env={**os.environ, **QUIET, "MLFLOW_TRACKING_URI": tracking_uri(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StoreError(
            "MLflow did not remove deleted runs",
            where=masked(tracking_uri(settings)),
            found=masked(done.stderr).strip()[-300:],
            cure="they are marked as deleted; mlflow gc removes them",
        )
