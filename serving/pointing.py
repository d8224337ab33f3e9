"""The endpoints that move the pointer: activate a release, roll back to the last good one.

The service speaks to the store alone. Each move is noted in the pointer as one that MLflow's `champion` has
not followed; what speaks to MLflow brings it along (components.activate).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving import answers, asking
from serving.answers import Answer
from serving.problems import Problem, store_failed, undecided
from serving.state import Request, State
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.errors import ConfigError, ReleaseError, StorecastError


async def activate(state: State, request: Request) -> Answer:
    """POST /v1/releases/{id}/activate: point at a release, after verifying it."""
    release_id = request.path.split("/")[3]

    def move() -> str:
        store = state.watcher.lookout.store()
        if release_id not in store.ids():
            raise LookupError
        return store.activate(release_id, "activated over HTTP", registry_behind=True).id

    return await _moved(state, move)


async def rollback(state: State, request: Request) -> Answer:
    """POST /v1/releases/rollback: point at the release that was current before, or the last good one."""
    left = asking.query(request.query, ["current"]).get("current", "")
    return await _moved(state, lambda: _back(state.watcher, left))


MOVES = (activate, rollback)
"""What takes as long as fetching and verifying a release does, and goes on whoever waits for it."""


def _back(watcher: Watcher[ReleaseTable], left: str) -> str:
    """Point at the newest release on the way back that is not refused.

    Args:
        watcher: which knows what is refused.
        left: the release to go back from; "": the current one, whichever that is.

    Raises:
        Problem: another one is current.
        ReleaseError: there is none, or another one became current meanwhile.
        StoreError, OSError: the store cannot be read or written.
    """
    store = watcher.lookout.store()
    *earlier, current = store.trail() or [""]
    if left and left != current:
        raise Problem(
            409,
            "not-current",
            "another release is current",
            "current",
            "the id of the current release",
            "GET /v1/releases tells it; it may have been left already",
        )
    for release_id in reversed(earlier):
        if not watcher.refuses(store, release_id):
            why = "rolled back over HTTP"
            return store.activate(release_id, why, instead_of=current, registry_behind=True).id
    raise ReleaseError("there is no earlier release that is good", where=store.root)


async def _moved(state: State, move: Callable[[], str]) -> Answer:
    try:
        pointed = await asyncio.to_thread(move)
    except LookupError as error:
        raise Problem(
            404,
            "no-release",
            "there is no such release",
            "id",
            "the whole id of a release",
            "GET /v1/releases",
        ) from error
    except ReleaseError as error:
        raise Problem(
            409,
            "refused",
            "the release cannot be current",
            cure="GET /v1/releases lists the others; the log says more",
        ) from error
    except ConfigError as error:
        raise undecided() from error
    except (StorecastError, OSError) as error:
        raise store_failed(error, "releases/*/current.json") from error
    return answers.json({"current": pointed, "serving": state.watcher.release}, status=202)
