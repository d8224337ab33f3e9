"""MLflow: one run per pipeline run, one registered model per data set.

With `mlflow_database` the only module that imports mlflow.
By default runs go to SQLite and files in the home folder; `tracking_uri` in the settings names a server.
A run is found again by its key and a model version by its bundle's hash, so a retry or a resumed pipeline
adds to what is there instead of making it twice.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components import mlflow_database
from storecast.errors import StoreError
from storecast.settings import Settings
from storecast.store import parquet
from storecast.store.datasets import checksums, content_hash

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from storecast.bundle import Bundle

KEY_TAG = "storecast.key"
BUNDLE_TAG = "storecast.bundle"
CHAMPION, CHALLENGER = "champion", "challenger"
MOST_ROWS_SHOWN = 5_000
_GLOBAL_URI = threading.Lock()
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What keeps mlflow from calling home and from talk of databases and git; it reads them when imported."""
for _variable, _value in QUIET.items():
    os.environ.setdefault(_variable, _value)


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
    with _clear_errors(settings):
        client = _client(settings)
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


def register(tracked: TrackedRun, bundle: Path, name: str) -> int:
    """Log a bundle's folder as the run's model and register it as the challenger; its version.

    A bundle of the same files is registered once, whichever run asks.
    """
    client = tracked.client
    digest = bundle_digest(checksums(bundle))
    version = _version_of_bundle(client, name, digest)
    if version is None:
        with _without_its_warnings(), _as_global(client.tracking_uri):
            model = _logged_model(tracked, digest) or _log_model(tracked, bundle, digest)
            tags = {BUNDLE_TAG: digest}
            made = client.create_model_version(name, f"models:/{model}", tracked.id, tags, model_id=model)
        version = int(made.version)
    client.set_registered_model_alias(name, CHALLENGER, str(version))
    return version


def promote(settings: Settings, name: str, version: int) -> None:
    """Make a version the champion, which `models:/<name>@champion` then loads."""
    with _clear_errors(settings):
        _client(settings).set_registered_model_alias(name, CHAMPION, str(version))


def version_of(settings: Settings, name: str, alias: str = CHAMPION) -> int | None:
    """The version that carries an alias, or None where there is none."""
    from mlflow.exceptions import MlflowException

    with _clear_errors(settings):
        try:
            return int(_client(settings).get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise


def version_of_bundle(settings: Settings, name: str, bundle: Path) -> int | None:
    """The version that was registered from a bundle of these files, or None."""
    with _clear_errors(settings):
        return _version_of_bundle(_client(settings), name, bundle_digest(checksums(bundle)))


def bundle_digest(sums: Mapping[str, str]) -> str:
    """What a bundle's registered version is tagged with, from the sha256 of its files' bytes."""
    return content_hash({name: {"sha256": digest} for name, digest in sums.items()})


def runs_before(settings: Settings, when: datetime, bundles: Sequence[str]) -> list[str]:
    """Ids of our runs that ended before a time, without those of models in use.

    In use are the versions with an alias, and those of the given bundles (by their digest). Runs that were
    marked as deleted count where it is for us to remove them.
    """
    from mlflow.entities import ViewType

    view = ViewType.ACTIVE_ONLY if _served(settings) else ViewType.ALL
    with _clear_errors(settings):
        client = _client(settings)
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
    with _clear_errors(settings):
        client = _client(settings)
        for run_id in runs:
            if client.get_run(run_id).info.lifecycle_stage == "active":
                client.delete_run(run_id)
    if _served(settings):
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
            where=_masked(tracking_uri(settings)),
            found=_masked(done.stderr).strip()[-300:],
            cure="they are marked as deleted; mlflow gc removes them",
        )


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs: the setting, or SQLite in the home folder."""
    return settings.tracking_uri or f"sqlite:///{mlflow_database.path(settings)}"


def page(settings: Settings, run_id: str) -> str:
    """Where a run is to be seen: the address of its page on a server, or the database and the run's id."""
    uri = tracking_uri(settings)
    if not uri.startswith("http"):
        return f"{uri} run {run_id}"
    with _clear_errors(settings):
        experiment = _client(settings).get_run(run_id).info.experiment_id
    base = settings.tracking_page or uri
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def artifact_root(settings: Settings) -> Path:
    """Where artifacts lie when MLflow is the home folder's; a server has a place of its own."""
    return settings.home.absolute() / "mlartifacts"


def _client(settings: Settings) -> MlflowClient:
    """A client; importing mlflow takes seconds, so it happens here."""
    if token := settings.tracking_token.get_secret_value():
        os.environ["MLFLOW_TRACKING_TOKEN"] = token
    if not settings.tracking_uri:
        mlflow_database.make(settings)
    import mlflow.store.db.utils
    from mlflow import MlflowClient

    logging.getLogger(mlflow.store.db.utils.__name__).setLevel(
        logging.WARNING
    )  # which it sets to INFO itself
    return MlflowClient(tracking_uri(settings), registry_uri=tracking_uri(settings))


@contextmanager
def _clear_errors(settings: Settings) -> Iterator[None]:
    """MLflow's errors as ours, without the credentials that a URI may hold."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise StoreError(
            "MLflow refused or could not be reached",
            where=_masked(tracking_uri(settings)),
            found=_masked(str(error)).splitlines()[0],
            cure="check tracking_uri (storecast config show), or unset it to keep runs in the home folder; "
            "where its database is broken, move that file away",
        ) from error


def _served(settings: Settings) -> bool:
    """Whether MLflow is a server, which removes by itself what is marked as deleted."""
    return settings.tracking_uri.startswith("http")


def _masked(text: str) -> str:
    return re.sub(r"//[^@/\s]+@", "//***@", text)


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


def _version_of_bundle(client: MlflowClient, name: str, digest: str) -> int | None:
    """The version that was made from this bundle; the registered model is made where it is missing."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}' AND tags.`{BUNDLE_TAG}` = '{digest}'")
    return min((int(v.version) for v in versions), default=None)


def _logged_model(tracked: TrackedRun, digest: str) -> str | None:
    """The model that an attempt which died before registering it had logged."""
    found = tracked.client.search_logged_models(
        [tracked.experiment_id], filter_string=f"tags.`{BUNDLE_TAG}` = '{digest}'"
    )
    ready = [model.model_id for model in found if str(model.status) == "READY"]
    return ready[0] if ready else None


def _log_model(tracked: TrackedRun, bundle: Path, digest: str) -> str:
    from mlflow import start_run
    from mlflow.pyfunc import log_model

    from storecast.bundle import Bundle

    example, signature = _example(Bundle.load(bundle))
    with start_run(run_id=tracked.id):
        info = log_model(
            name="bundle",
            loader_module="components.mlflow_model",
            data_path=str(bundle),
            signature=signature,
            input_example=example,
            pip_requirements=["storecast"],
            tags={BUNDLE_TAG: digest},
        )
    tracked.client.update_run(tracked.id, status="RUNNING")  # start_run ended it
    return str(info.model_id)


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """Silence what mlflow says about its own classes and does wrongly with pandas 3."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*inferred as AnyType", UserWarning)
        warnings.filterwarnings("ignore", "Operation with range is deprecated", DeprecationWarning)
        yield


def _example(bundle: Bundle) -> tuple[pd.DataFrame, ModelSignature]:
    """Rows to ask for, and the columns that go in and come out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    panel = bundle.panel
    days = panel.future_dates[:2]
    example = pd.DataFrame({"unique_id": [str(panel.ids[0])] * len(days), "ds": days})
    free = ["unique_id", *bundle.about["keys"], *panel.known]  # text or numbers, whatever the caller has
    inputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.datetime, "ds")]
    anything = AnyType()  # type: ignore[no-untyped-call]
    inputs += [ColSpec(anything, name, required=False) for name in dict.fromkeys(free)]
    kinds = {"M": DataType.datetime, "f": DataType.double, "i": DataType.long}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(dtype.kind, DataType.string), str(name))
        for name, dtype in bundle.predict(example).dtypes.items()
    ]
    return example, ModelSignature(Schema(inputs), Schema(outputs))


@contextmanager
def _as_global(uri: str) -> Iterator[None]:
    """Models are logged to the process's tracking URI only: set it meanwhile, for one thread at a time."""
    import mlflow

    with _GLOBAL_URI:
        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


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
