"""Stage: make a release the current one, and its model the registry's champion.

python -m components.activate --release URI

Where the service moved the pointer, which does not speak to MLflow, `follow` brings the champion along; the
next activation does so too, whether it changes the pointer or not.
"""

from __future__ import annotations

from typing import Annotated

import typer

from components import mlflow_registry
from components.register import model_name
from components.stage import Workspace, main, open_store
from storecast.errors import ReleaseError
from storecast.settings import load_settings
from storecast.store import uri as uris
from storecast.store.releases import Release, ReleaseStore, named


def run(
    release: Annotated[str, typer.Option(help="URI of the release.")],
    why: Annotated[str, typer.Option(help="Kept in the pointer's history; default: as the gate says.")] = "",
    workspace: Workspace = "",
    once: Annotated[
        bool,
        typer.Option(help="Leave the pointer if this release was current, or ends before the current one."),
    ] = False,
    instead_of: Annotated[
        str, typer.Option(help="Id of the release that must be current still, or the pointer stays.")
    ] = "",
) -> Release:
    """Point at a release after verifying it, and move the champion alias to its model.

    The alias moves first: killed in between, the next call finds the pointer unmoved and does both.

    Args:
        release: URI of the release.
        why: a few words for the history; "": what the gate said of it.
        workspace: where releases lie.
        once: change nothing if the release was current before (what has been rolled back stays so), or if its
            data end before the current one's.
        instead_of: change nothing if another release than this one is current, or becomes so meanwhile; "":
            whichever is.

    Returns:
        The release that is current now.

    Raises:
        ReleaseError: the release is damaged.
        StoreError: MLflow cannot be reached.
    """
    store = open_store(workspace)
    dataset, release_id = named(release)
    releases = ReleaseStore(store, dataset)
    current, wanted = releases.current(), releases.get(release_id)
    others = bool(instead_of) and current is not None and current.id != instead_of
    if current and (current.id == wanted.id or others or (once and _stays_back(releases, wanted))):
        follow(releases)
        return current
    if not why:
        promoted = wanted.about["promoted"]
        why = "promoted by the gate" if promoted else "the champion's forecast from new data"
    releases.check(wanted)
    _promote(releases, wanted)
    return _pointed(releases, wanted, why, instead_of)


def _pointed(releases: ReleaseStore, wanted: Release, why: str, instead_of: str) -> Release:
    """Point at a release; where another became current since it was looked at, that and its alias stay."""
    try:
        return releases.activate(wanted.id, why, instead_of=instead_of)
    except ReleaseError:
        current = releases.current()
        if not instead_of or current is None or current.id == instead_of:
            raise
        _promote(releases, current)
        return current


def _stays_back(releases: ReleaseStore, wanted: Release) -> bool:
    behind = ends_before_current(releases, str(wanted.about["cutoff"]))
    return bool(behind) or releases.was_current(wanted.id)


def ends_before_current(releases: ReleaseStore, cutoff: str) -> str:
    """Why nothing that ends at a date (YYYY-MM-DD) becomes current by itself; "" where it may."""
    current = releases.current()
    if current is None or cutoff >= str(current.about["cutoff"]):
        return ""
    return (
        f"Its data end on {cutoff}, before those of the current release {current.id}, which stays. "
        "To go back all the same: storecast releases rollback."
    )


def follow(releases: ReleaseStore) -> Release | None:
    """Make the current release's model the registry's champion, where that was left to do.

    Returns:
        The release whose model was made champion; None: there was nothing to do.

    Raises:
        StoreError: MLflow cannot be reached.
    """
    history = releases.history()
    if not history or not history[-1].registry_behind:
        return None
    current = releases.get(history[-1].id)
    _promote(releases, current)
    releases.registry_followed(current.id)
    return current


def _promote(releases: ReleaseStore, release: Release) -> None:
    settings, name = load_settings(), model_name(uris.name_of(releases.root))
    digest = mlflow_registry.digest_of_model(releases, release)
    version = mlflow_registry.version_of_bundle(settings, name, digest)
    if version is not None:
        mlflow_registry.promote(settings, name, version)


if __name__ == "__main__":
    main(run)
