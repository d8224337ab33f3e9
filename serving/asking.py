"""What a request asks for: query strings and JSON bodies, checked against the release at hand."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

import orjson

from serving.problems import Problem, invalid
from serving.table import ReleaseTable

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
NUMBER = re.compile(r"\d{1,9}", re.ASCII)
PARAMETERS = ("from", "to", "quantiles")
MOST_PARAMETERS = 50
MOST_LETTERS = 500
"""Longest value of a key."""


@dataclass(frozen=True)
class Selection:
    """Which dates and columns to answer; `whole` where it is all of them."""

    days: slice
    columns: tuple[int, ...]
    whole: bool


def query(raw: bytes, allowed: Iterable[str]) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        Problem: one is unknown (naming the nearest), given twice or not UTF-8.
    """
    names = list(allowed)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise invalid("query", f"at most {MOST_PARAMETERS} parameters in UTF-8, percent-encoded") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise Problem(
                422,
                "unknown-parameter",
                "there is no such parameter",
                "query",
                f"one of {', '.join(names) or 'none'}",
                f"did you mean {near[0]}?" if near else "leave it out",
            )
        if name in found:
            raise invalid(name, "one value", "give it once; quantiles are parted by commas")
        found[name] = value
    return found


def key_of(found: Mapping[str, Any], columns: Sequence[str], where: str = "") -> tuple[str, ...]:
    """The key that a mapping gives.

    Raises:
        Problem: a key column is missing or not a string.
    """
    return tuple([text(found.get(name), f"{where}{name}") for name in columns])


def text(value: Any, name: str) -> str:
    """A value of a key column.

    Raises:
        Problem: it is no string of a reasonable length.
    """
    if not isinstance(value, str) or not value or len(value) > MOST_LETTERS:
        raise invalid(
            name, f"a string of 1 to {MOST_LETTERS} characters", "GET /v1/series lists the keys there are"
        )
    return value


def selection(table: ReleaseTable, start: Any, end: Any, quantiles: Sequence[Any] | None) -> Selection:
    """The dates from `start` to `end` (ISO, both included; None: open) and the columns of these levels.

    Raises:
        Problem: a date or level is not valid, or no forecast lies between the dates.
    """
    if start is None and end is None and quantiles is None:
        return Selection(slice(None), tuple(range(len(table.columns))), whole=True)
    first, last = day(start, "from"), day(end, "to")
    inside = [
        i for i, at in enumerate(table.dates) if (not first or at >= first) and (not last or at <= last)
    ]
    if not inside:
        raise Problem(
            404,
            "no-dates",
            "there is no forecast for these dates",
            "from, to",
            f"{table.dates[0]} to {table.dates[-1]}, from not after to",
            "ask for dates in this range, or leave both out",
        )
    columns = (0, *(levels(table, quantiles) if quantiles is not None else range(1, len(table.columns))))
    return Selection(slice(inside[0], inside[-1] + 1), columns, whole=False)


def day(value: Any, name: str) -> str:
    """A date in ISO form, or "" for None.

    Raises:
        Problem: it is none.
    """
    if value is None:
        return ""
    try:
        if isinstance(value, str) and DATE.fullmatch(value):
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise invalid(name, "a date, as 2023-08-01")


def levels(table: ReleaseTable, quantiles: Sequence[Any]) -> list[int]:
    """Positions of quantile levels among the columns, in the release's order.

    Raises:
        Problem: the release has no such level.
    """
    known = {level: i for i, level in enumerate(table.levels, start=1)}
    try:
        found = [known[float(level)] for level in quantiles]
    except (KeyError, ValueError, TypeError) as error:
        raise invalid("quantiles", f"levels among {', '.join(f'{level:g}' for level in known)}") from error
    if len(set(found)) < len(found):
        raise invalid("quantiles", "each level once")
    return sorted(found)


def count(value: str | None, name: str, default: int, least: int, most: int) -> int:
    """A whole number in a range.

    Raises:
        Problem: it is none.
    """
    if value is None:
        return default
    if not NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise invalid(name, f"a whole number from {least} to {most}")
    return int(value)


def json_object(body: bytes, allowed: Sequence[str], required: Sequence[str]) -> dict[str, Any]:
    """A JSON body that is an object with these members.

    Raises:
        Problem: it is not JSON, no object, or its members are others.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(
            400, "not-json", "the body is not JSON", "body", "JSON in UTF-8", "see /openapi.json for its form"
        ) from error
    members(content, "body", allowed, required)
    if empty := [name for name, value in content.items() if value is None]:
        raise invalid(f"body.{empty[0]}", "a value", "leave it out")
    found: dict[str, Any] = content
    return found


def members(content: Any, where: str, allowed: Sequence[str], required: Sequence[str] = ()) -> None:
    """Check that something is an object with these members.

    Raises:
        Problem: it is not.
    """
    if not isinstance(content, dict):
        raise invalid(where, f"an object with {', '.join(required or allowed)}")
    if missing := [name for name in required if name not in content]:
        raise invalid(f"{where}.{missing[0]}", "to be there", "add it")
    if set(content) - set(allowed):
        raise invalid(where, f"no members but {', '.join(allowed)}", "leave the others out")


def items(content: Any, where: str, most: int) -> list[Any]:
    """A list of 1 to `most` items.

    Raises:
        Problem: it is none, or longer.
    """
    if not isinstance(content, list) or not content:
        raise invalid(where, f"a list of 1 to {most} items")
    if len(content) > most:
        raise invalid(where, f"at most {most} items", "ask in several requests")
    return content
