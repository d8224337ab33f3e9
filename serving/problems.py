"""Errors as RFC 9457 problem documents: what is wrong, which field, what was expected, what to do.

They never repeat what was sent and never show a trace.
"""

from __future__ import annotations

import dataclasses
import errno

import orjson

MEDIA_TYPE = b"application/problem+json"


@dataclasses.dataclass
class Problem(Exception):  # noqa: N818 (the name of the RFC)
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        slug: end of the problem's type URI.
        title: what is wrong, the same for every occurrence.
        field: name of the parameter, header or JSON path at fault; "": none.
        expected: what was expected there.
        cure: what to do.
        headers: more headers of the answer.
    """

    status: int
    slug: str
    title: str
    field: str = ""
    expected: str = ""
    cure: str = ""
    headers: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)

    def body(self) -> bytes:
        """The document."""
        said = {"field": self.field, "expected": self.expected, "cure": self.cure}
        detail = ". ".join(f"{name}: {text}" for name, text in said.items() if text)
        content: dict[str, object] = {
            "type": f"urn:storecast:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": detail or self.title,
        }
        return orjson.dumps(content | {name: text for name, text in said.items() if text})


def invalid(name: str, expected: str, cure: str = "") -> Problem:
    """A parameter or a part of the body is wrong."""
    return Problem(422, "invalid", "a value is not valid", name, expected, cure)


def not_ready() -> Problem:
    """There is nothing to answer from yet."""
    return Problem(
        503,
        "no-release",
        "no release is loaded yet",
        cure="try again soon: the first one is in use seconds after it is made",
        headers=retry(2),
    )


def undecided() -> Problem:
    """Several data sets have releases, and nothing says which of them to serve."""
    return Problem(
        503,
        "no-dataset",
        "it is not decided which data set to serve",
        cure="set serving_dataset: several data sets have releases",
        headers=retry(5),
    )


def busy(seconds: int = 1) -> Problem:
    """More is under way than can be answered in time."""
    return Problem(
        503, "busy", "more requests than can be answered", cure="try again later", headers=retry(seconds)
    )


def too_many(seconds: int, who: str) -> Problem:
    """A rate limit is used up."""
    return Problem(
        429,
        "rate-limit",
        "too many requests",
        expected=f"no more than the limit per {who}",
        cure="wait as many seconds as Retry-After says",
        headers=retry(seconds),
    )


def retry(seconds: int) -> list[tuple[bytes, bytes]]:
    """The header that says when to come back."""
    return [(b"retry-after", str(max(1, seconds)).encode())]


def no_key(why: str) -> Problem:
    """The key is missing, unknown or expired: all the same from outside, but for the missing one."""
    return Problem(
        401,
        "key",
        why,
        "Authorization",
        "Bearer and an API key that is valid",
        "storecast keys create makes one",
        [(b"www-authenticate", b"Bearer")],
    )


def scope_missing(scope: str) -> Problem:
    """The key may not do this."""
    return Problem(
        403, "scope", "the key lacks a scope", "Authorization", f"a key with scope {scope}", "use such a key"
    )


NOT_FOUND = Problem(404, "not-found", "there is no such path", cure="GET /openapi.json lists all")


def wrong_method(allowed: str) -> Problem:
    """The path has other methods."""
    return Problem(
        405, "method", "the path has no such method", expected=allowed, headers=[(b"allow", allowed.encode())]
    )


def store_away() -> Problem:
    """The releases or the drop folder cannot be reached, or not be written."""
    return Problem(
        503, "store", "the store cannot be read or written", cure="try again later", headers=retry(5)
    )


def store_failed(error: Exception, written: str) -> Problem:
    """What was to be written could not be: the store is away, or the service has no right to, which stays so.

    Args:
        error: what came of it.
        written: what the service's role has to be given.
    """
    if not isinstance(error, PermissionError) and getattr(error, "errno", None) != errno.EROFS:
        return store_away()
    return Problem(
        500,
        "store-refuses",
        "the service may not write to the store",
        cure=f"let its role write to {written} of the workspace: docs/security.md",
    )


def internal() -> Problem:
    """Something broke here; the log has it."""
    return Problem(500, "internal", "the request could not be answered", cure="see the service's log")
