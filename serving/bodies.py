"""The body of a request: JSON, not encoded, of a length that is allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from serving.answers import JSON
from serving.problems import Problem

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def read(scope: Mapping[str, Any], receive: Receive, most: int) -> bytes:
    """A body of at most `most` bytes; it is given up as soon as it is longer.

    Raises:
        Problem: it is too long, encoded, of another type, or ends too early.
    """
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "cut-off", "the body ended too early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most:
            raise _too_large(most)
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if (size and media_type != JSON) or headers.get(b"content-encoding", b"identity") != b"identity":
        raise Problem(
            415,
            "media-type",
            "the body is of a type that is not read",
            "Content-Type",
            "application/json, not encoded",
        )
    return b"".join(parts)


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too-large", "the body is too large", "body", f"at most {most} bytes", "ask in several requests"
    )
