"""Stage: make a release the current one, and its model the registry's champion.

python -m components.activate --release URI
"""

from __future__ import annotations

from typing import Annotated

import typer

from components import mlflow_tracking
from components.register import model_name
from components.stage import Workspace, main, open_store
from storecast.settings import load_settings
from storecast.store.releases import Release, ReleaseStore


def run(
    release: Annotated[str, typer.Option(help="URI of the release.")],
    why: Annotated[str, typer.Option(help="Kept in the pointer's history; default: as the gate says.")] = "",
    workspace: Workspace = "",
    once: Annotated[bool, typer.Option(help="Leave the pointer if this release was current before.")] = False,
) -> Release:
    """Point at a release after verifying it, and move the champion alias to its model.

    The alias moves first: killed in between, the next call finds the pointer unmoved and does both.

    Args:
        release: URI of the release.
        why: a few words for the history; "": what the gate said of it.
        workspace: where releases lie.
        once: change nothing if the release was current before: what has been rolled back stays so.

    Returns:
        The release that is current now.

    Raises:
        ReleaseError: the release is damaged.
        StoreError: MLflow cannot be reached.
    """
    store, settings = open_store(workspace), load_settings()
    dataset, release_id = release.rstrip("/").split("/")[-2:]
    releases = ReleaseStore(store, dataset)
    current, wanted = releases.current(), releases.get(release_id)
    if current and (current.id == wanted.id or (once and releases.was_current(wanted.id))):
        return current
    if not why:
        promoted = wanted.about["promoted"]
        why = "promoted by the gate" if promoted else "the champion's forecast from new data"
    releases.check(wanted)
    name = model_name(dataset)
    version = mlflow_tracking.version_of_bundle(settings, name, releases.path(wanted) / "bundle")
    if version is not None:
        mlflow_tracking.promote(settings, name, version)
    return releases.activate(wanted.id, why)


if __name__ == "__main__":
    main(run)
