"""The body of a what-if: which series, and what would be different."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from serving import asking
from serving.problems import Problem, invalid
from serving.table import LARGEST, ReleaseTable

EVENT_KINDS = ("holiday", "bridge", "additional", "event", "workday")
"""As `storecast.calendar` has them, which would bring pandas into the workers; a test compares the two."""
MOST_EVENTS = 20


def key(item: Any, columns: Sequence[str], where: str) -> tuple[str, ...]:
    """The key in an object of exactly the key columns.

    Raises:
        Problem: it is none.
    """
    asking.members(item, where, columns, columns)
    return asking.key_of(item, columns, f"{where}.")


def read(body: bytes, table: ReleaseTable, most: int) -> dict[str, Any]:
    """A question to the model: `release`, `series` (unique_id and covariates by date), `events`, `unknown`.

    Raises:
        Problem: the body is not of the form that /openapi.json describes.
    """
    content = asking.json_object(body, ("series", "events"), ("series",))
    asked = asking.items(content["series"], "body.series", most)
    events = content.get("events", [])
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise invalid("body.events", f"a list of at most {MOST_EVENTS} events")
    question: dict[str, Any] = {
        "release": table.id,
        "series": [],
        "events": [_event(event, table, f"body.events[{i}]") for i, event in enumerate(events)],
        "unknown": [],
    }
    seen: set[tuple[str, ...]] = set()
    for i, item in enumerate(asked):
        where = f"body.series[{i}]"
        asking.members(item, where, ("key", "known"), ("key",))
        found = key(item["key"], table.keys, f"{where}.key")
        if found in seen:
            raise Problem(
                409,
                "series-twice",
                "a series is asked twice",
                f"{where}.key",
                "each series once",
                "ask for several scenarios in several requests",
            )
        seen.add(found)
        known = _known(item.get("known", {}), table, f"{where}.known")
        row = table.rows.get(found)
        if row is None:
            question["unknown"].append(dict(zip(table.keys, found, strict=True)))
        else:
            question["series"].append({"row": row, "known": known})
    return question


def _known(content: Any, table: ReleaseTable, where: str) -> dict[str, Any]:
    names: list[str] = table.about["known"]
    asking.members(content, where, names)
    return {
        name: _values(value, table, table.least(name), f"{where}.{name}") for name, value in content.items()
    }


def _values(content: Any, table: ReleaseTable, least: float, where: str) -> dict[str, float]:
    """A number for every date, or numbers by date."""
    if isinstance(content, dict):
        if set(content) - set(table.dates):
            raise invalid(where, f"dates from {table.dates[0]} to {table.dates[-1]}")
        return {day: _number(value, least, f"{where}.{day}") for day, value in content.items()}
    number = _number(content, least, where)
    return dict.fromkeys(table.dates, number)


def _number(value: Any, least: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid(where, "a number")
    if not least <= value <= LARGEST:
        raise invalid(where, f"a number from {least:.0f} to {LARGEST:.0f}")
    return float(value)


def _event(content: Any, table: ReleaseTable, where: str) -> dict[str, str]:
    asking.members(content, where, ("ds", "event", "kind"), ("ds", "event"))
    day, name, kind = content["ds"], content["event"], content.get("kind", "holiday")
    if day not in table.dates:
        raise invalid(f"{where}.ds", f"a date from {table.dates[0]} to {table.dates[-1]}")
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise invalid(f"{where}.event", "a name of 1 to 100 characters")
    if kind not in EVENT_KINDS:
        raise invalid(f"{where}.kind", f"one of {', '.join(EVENT_KINDS)}")
    return {"ds": day, "event": name, "kind": kind}
