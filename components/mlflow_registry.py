"""Models in MLflow's registry: one registered model for each data set, a version for each bundle.

A version is found again by its bundle's hash, so the same files are registered once.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components.mlflow_client import clear_errors, connect
from components.mlflow_tracking import TrackedRun
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.store.datasets import checksums, content_hash
from storecast.store.releases import CHECKSUMS, Release, ReleaseStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from storecast.bundle import Bundle

BUNDLE_TAG = "storecast.bundle"
CHAMPION, CHALLENGER = "champion", "challenger"
_GLOBAL_URI = threading.Lock()


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
    with clear_errors(settings):
        connect(settings).set_registered_model_alias(name, CHAMPION, str(version))


def version_of(settings: Settings, name: str, alias: str = CHAMPION) -> int | None:
    """The version that carries an alias, or None where there is none."""
    from mlflow.exceptions import MlflowException

    with clear_errors(settings):
        try:
            return int(connect(settings).get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise


def version_of_bundle(settings: Settings, name: str, digest: str) -> int | None:
    """The version that was registered from a bundle of this digest, or None."""
    with clear_errors(settings):
        return _version_of_bundle(connect(settings), name, digest)


def digest_of_model(releases: ReleaseStore, release: Release) -> str:
    """The digest of the bundle that a release's model was registered with.

    A forecast that was refreshed is not registered: the model is that of the release it comes from, however
    often it has been refreshed since, as far back as these are kept.
    """
    there = set(releases.ids())
    while (origin := _refreshed(release)) in there:
        release = releases.get(origin)
    sums = json.loads(uris.read_text(uris.join(release.uri, CHECKSUMS)))
    return bundle_digest({n.removeprefix("bundle/"): s for n, s in sums.items() if n.startswith("bundle/")})


def _refreshed(release: Release) -> str:
    """Id of the release whose forecast was made anew in this one; "" where it was trained."""
    return str(release.lineage().get("refreshed", ""))


def bundle_digest(sums: Mapping[str, str]) -> str:
    """What a bundle's registered version is tagged with, from the sha256 of its files' bytes."""
    return content_hash({name: {"sha256": digest} for name, digest in sums.items()})


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
