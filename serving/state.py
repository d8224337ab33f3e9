"""What the endpoints answer from, and what they see of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.answers import Answer
from serving.problems import not_ready, undecided
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.settings import Settings


class Champion(Protocol):
    """The process that runs the release's model."""

    async def ask(self, question: Mapping[str, Any]) -> Answer:
        """Its answer to a question, as `questions.read` gives it."""
        ...


@dataclass
class Request:
    """What an endpoint sees of a request."""

    path: str
    query: bytes = b""
    body: bytes = b""
    accept: bytes = b""
    known: bytes = b""
    """If-None-Match."""


@dataclass
class State:
    """What the endpoints answer from."""

    settings: Settings
    watcher: Watcher[ReleaseTable]
    champion: Champion | None = None
    draining: Callable[[], bool] = field(default=lambda: False)

    def table(self) -> ReleaseTable:
        """The release to answer from; take it once per request.

        Raises:
            Problem: there is none yet.
        """
        table = self.watcher.value
        if table is None:
            raise undecided() if self.watcher.seen.undecided else not_ready()
        return table
