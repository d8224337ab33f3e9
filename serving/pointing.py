"""The endpoints that move the pointer: activate a release, roll back to the last good one.

The service speaks to the store alone. Each move is noted in the pointer as one that MLflow's `champion` has
not followed; what speaks to MLflow brings it along (components.activate).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving import answers
from serving.answers import Answer
from serving.problems import Problem, retry, undecided
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
    del request
    return await _moved(state, lambda: _back(state.watcher))


def _back(watcher: Watcher[ReleaseTable]) -> str:
    """Point at the newest release on the way back that is not refused.

    Raises:
        ReleaseError: there is none.
        StoreError, OSError: the store cannot be read or written.
    """
    store = watcher.lookout.store()
    for release_id in reversed(store.trail()[:-1]):
        if not watcher.refuses(store, release_id):
            return store.activate(release_id, "rolled back over HTTP", registry_behind=True).id
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
        raise Problem(
            503, "store", "the store cannot be read or written", cure="try again later", headers=retry(5)
        ) from error
    return answers.json({"current": pointed, "serving": state.watcher.release}, status=202)
