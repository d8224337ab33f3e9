"""The audit log: who asked for what, when, and what came of it.

Each entry is a file of its own in `audit/` of the workspace, written once and never changed, so that it works
in an object store, too, and over any number of dashboards. An action has two: that it was asked, and how it
ended.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TypeVar

from dashboard.access import NotAllowedError, Person
from storecast.errors import StorecastError
from storecast.settings import load_settings
from storecast.store import uri as uris

T = TypeVar("T")
ASKED, DONE, FAILED = "asked", "done", "failed"


@dataclass(frozen=True)
class Entry:
    """An entry: `at` ISO time, `who` and `how` they were known, `action`, `about` it, `state`, `found`."""

    at: str
    action_id: str
    who: str
    how: str
    action: str
    about: Mapping[str, str]
    state: str
    found: str = ""


def perform(who: Person, action: str, about: Mapping[str, str], work: Callable[[], T]) -> T:
    """Do something for somebody who may, and log it; nothing is done that could not be logged.

    Args:
        who: asks.
        action: such as "start run".
        about: what it is about, for the log; no secrets.
        work: does it.

    Raises:
        NotAllowedError: they may only look.
        StorecastError: it failed, or the log cannot be written.
    """
    if not who.acts:
        raise NotAllowedError(f"{who.name} may look, not {action}", expected="the role operator")
    action_id = secrets.token_hex(4)

    def log(state: str, found: str = "") -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        _write(Entry(now, action_id, who.name, who.how, action, dict(about), state, found))

    log(ASKED)
    try:
        result = work()
    except StorecastError as error:
        log(FAILED, error.what)
        raise
    except Exception as error:
        log(FAILED, type(error).__name__)
        raise
    log(DONE)
    return result


def latest(count: int = 100) -> list[Entry]:
    """The last entries, the newest first; of an action that has ended, how it ended."""
    root, found = _root(), dict[str, Entry]()
    for day in reversed(uris.children(root)):
        for name in reversed(uris.children(uris.join(root, day))):
            entry = Entry(**json.loads(uris.read_text(uris.join(root, day, name))))
            found.setdefault(entry.action_id, entry)
            if len(found) >= count:
                return list(found.values())
    return list(found.values())


def _root() -> str:
    return uris.join(load_settings().root, "audit")


def _write(entry: Entry) -> None:
    name = f"{entry.at[11:].replace(':', '')}-{entry.action_id}-{entry.state}.json"
    uris.write_text(uris.join(_root(), entry.at[:10], name), json.dumps(asdict(entry)) + "\n")
