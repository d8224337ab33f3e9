"""A connection to Prefect's API, and what goes wrong with it in our words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client

from storecast.errors import StoreError

WAIT_SECONDS = 600.0
POLL_SECONDS = 2.0
LATER = {408, 429}
"""Statuses of a client's error that mean: not now."""
SILENCE_SECONDS = 900.0
"""How long the Prefect API may be away before who waits for a run gives up."""
PAGE = 200
"""What the API gives in one answer."""

Found = TypeVar("Found")


class RefusedError(StoreError):
    """The Prefect API was reached and refused (4xx), a wrong password say: asking again would not help."""


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """The Prefect API that PREFECT_API_URL names.

    Raises:
        RefusedError: it refused.
        StoreError: it cannot be reached, or broke.
    """
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPError as error:
        code = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
        refused = 400 <= code < 500 and code not in LATER
        raise (RefusedError if refused else StoreError)(
            "the Prefect API refused or cannot be reached",
            found=str(error) or type(error).__name__,
            cure="check prefect_api_url and prefect_auth (storecast config show)",
        ) from error


def pages(read: Callable[[int, int], list[Found]]) -> Iterator[list[Found]]:
    """All that the API has, a page after the other.

    Args:
        read: gives at most so many, its first argument, after so many, its second.
    """
    offset = 0
    while page := read(PAGE, offset):
        yield page
        offset += len(page)
        if len(page) < PAGE:
            return


def of_runs(runs: Sequence[UUID], read: Callable[[list[UUID], int, int], list[Found]]) -> list[Found]:
    """What the API has of some runs, however many there are: it takes a page of them at a time, too.

    Args:
        runs: their ids.
        read: gives of some runs at most so many, after so many.
    """
    some = (list(runs[at : at + PAGE]) for at in range(0, len(runs), PAGE))
    return [found for ids in some for page in pages(partial(read, ids)) for found in page]


def wait_for_api(client: SyncPrefectClient, seconds: float = WAIT_SECONDS) -> None:
    """Wait until the Prefect API answers.

    Raises:
        StoreError: it does not by then; the error says what it answered last.
    """
    deadline = time.monotonic() + seconds
    while True:
        problem = client.api_healthcheck()
        if problem is None:
            return
        if time.monotonic() > deadline:
            raise StoreError(
                "the Prefect API does not answer",
                where=str(client.api_url),
                found=str(problem),
                cure="look at the Prefect server's pod or log, and at PREFECT_API_URL",
            )
        time.sleep(POLL_SECONDS)
