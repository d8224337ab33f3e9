"""Runs in MLflow: one for each pipeline run.

A run is found again by its key, so a retry or a resumed pipeline adds to what is there instead of making it
twice.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.mlflow_client import artifact_root, clear_errors, connect
from storecast.settings import Settings
from storecast.store import parquet

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "storecast.key"
MOST_ROWS_SHOWN = 5_000


class TrackedRun:
    """An MLflow run under way. Logging the same thing twice leaves it there once."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self.client, self.id, self.experiment_id = client, run_id, experiment_id

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, nested ones as `outer.inner`. One that is there keeps its value: MLflow's rule."""
        from mlflow.entities import Param

        there = self.client.get_run(self.id).data.params
        new = [Param(k, _text(v)) for k, v in _flat(values).items() if k not in there]
        for start in range(0, len(new), 100):
            self.client.log_batch(self.id, params=new[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log figures such as {"rmsle/arima": 0.45}; a fold's at the fold's number as step."""
        for name, value in values.items():
            history = self.client.get_metric_history(self.id, name)
            same = [m for m in history if m.step == step and repr(m.value) == repr(float(value))]
            if not same:
                self.client.log_metric(self.id, name, float(value), step=step)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags: the data's hash, the release, the code's version."""
        for name, value in values.items():
            self.client.set_tag(self.id, name, value)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Log a frame as `tables/<name>`: CSV, which the UI shows, or Parquet above 5,000 rows."""
        with tempfile.TemporaryDirectory() as folder:
            if len(frame) <= MOST_ROWS_SHOWN:
                path = Path(folder) / f"{name}.csv"
                frame.to_csv(path, index=False)
            else:
                path = Path(folder) / f"{name}.parquet"
                parquet.write_frame(frame, path)
            self.client.log_artifact(self.id, str(path), "tables")

    def file(self, path: Path, folder: str = "") -> None:
        """Log a file (a plot, a report) as an artifact in `folder`."""
        self.client.log_artifact(self.id, str(path), folder or None)


@contextmanager
def run(settings: Settings, experiment: str, name: str, key: str) -> Iterator[TrackedRun]:
    """The run of a pipeline run: found by its key or made, and closed as finished, failed or killed.

    Args:
        settings: where MLflow is.
        experiment: name of the experiment, made where it is missing.
        name: the run's name for people.
        key: what makes it the same run: a retry or a resumed pipeline gives the same key.

    Raises:
        StoreError: MLflow cannot be reached, or refuses.
    """
    with clear_errors(settings):
        client = connect(settings)
        experiment_id = _experiment(client, settings, experiment)
        tracked = TrackedRun(client, _run_id(client, experiment_id, name, key), experiment_id)
        try:
            yield tracked
        except Exception:
            client.set_terminated(tracked.id, "FAILED")
            raise
        except BaseException:
            client.set_terminated(tracked.id, "KILLED")
            raise
        client.set_terminated(tracked.id, "FINISHED")


def _experiment(client: MlflowClient, settings: Settings, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = None if settings.tracking_uri else artifact_root(settings).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return _experiment(client, settings, name)  # another process was first
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _run_id(client: MlflowClient, experiment_id: str, name: str, key: str) -> str:
    found = client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING", name=name)
        return run_id
    return str(client.create_run(experiment_id, tags={KEY_TAG: key}, run_name=name).info.run_id)


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out


def _text(value: object) -> str:
    """A parameter's value as MLflow keeps it, at most 6,000 characters."""
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:6000]
