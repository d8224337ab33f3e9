"""What the service answers, typed: forecasts, what-ifs, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from storecast.errors import StorecastError

Key = Mapping[str, str]
SLOW = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)
"""The service was reached, by this request or by those before it, and was not done in time."""


class ServiceError(StorecastError):
    """The service refused a request, or could not be reached.

    Attributes:
        status: HTTP status; 0 where there was no answer.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        found: str = "",
        cure: str = "",
        status: int = 0,
    ) -> None:
        super().__init__(what, where=where, expected=expected, found=found, cure=cure)
        self.status = status


@dataclass(frozen=True)
class Series:
    """Forecasts of one series: `ds` (H,) ISO dates and each column (H,), in units of sales."""

    unique_id: str
    key: dict[str, str]
    ds: list[str]
    columns: dict[str, list[float]]


@dataclass(frozen=True)
class Forecasts:
    """An answer: all of one release. `unknown` are the keys that it does not have."""

    release: str
    series: list[Series]
    unknown: list[dict[str, str]]


@dataclass(frozen=True)
class Changed:
    """A what-if of one series: both forecasts, and the difference (H,) of the points."""

    unique_id: str
    key: dict[str, str]
    ds: list[str]
    baseline: dict[str, list[float]]
    what_if: dict[str, list[float]]
    difference: list[float]


@dataclass(frozen=True)
class WhatIf:
    """An answer to a what-if."""

    release: str
    series: list[Changed]
    unknown: list[dict[str, str]]


def checked(
    answer: httpx.Response | None, error: Exception | None, path: str, timeout: float
) -> httpx.Response:
    """An answer that is a success.

    Args:
        answer: what the service said; None: nothing.
        error: why it said nothing.
        path: what was asked.
        timeout: seconds that were waited for it.

    Raises:
        ServiceError: it is another, or there was none.
    """
    if answer is None and isinstance(error, SLOW):
        raise ServiceError(
            f"no answer within {timeout:g} s",
            where=path,
            found=type(error).__name__,
            cure="raise the client's timeout, or ask for fewer series at a time",
        ) from error
    if answer is None:
        raise ServiceError(
            "the service cannot be reached", where=path, found=type(error).__name__, cure="check its address"
        ) from error
    if answer.is_success:
        return answer
    said, later = _said(answer), answer.headers.get("retry-after", "")
    raise ServiceError(
        str(said.get("title", "the service refused the request")),
        where=f"{path} {said.get('field', '')}".strip(),
        expected=str(said.get("expected", "")),
        found=f"status {answer.status_code}" + (f", Retry-After {later}" if later else ""),
        cure=str(said.get("cure", "")),
        status=answer.status_code,
    )


def forecasts(answer: httpx.Response) -> Forecasts:
    """Read an answer of /v1/forecasts.

    Raises:
        ServiceError: it is none.
    """
    with _content(answer) as content:
        keys = content["keys"]
        series = [
            Series(
                unique_id=item["unique_id"],
                key={name: item[name] for name in keys},
                ds=item["ds"],
                columns={name: item[name] for name in item if name not in {"unique_id", "ds", *keys}},
            )
            for item in content["series"]
        ]
        return Forecasts(content["release"], series, content["unknown"])


def what_if(answer: httpx.Response) -> WhatIf:
    """Read an answer of /v1/what-if.

    Raises:
        ServiceError: it is none.
    """
    told = ("unique_id", "ds", "baseline", "what_if", "difference")
    with _content(answer) as content:
        series = [
            Changed(
                **{name: item[name] for name in told}, key={k: v for k, v in item.items() if k not in told}
            )
            for item in content["series"]
        ]
        return WhatIf(content["release"], series, content["unknown"])


def current(answer: httpx.Response) -> dict[str, Any]:
    """Read an answer of /v1/releases/current.

    Raises:
        ServiceError: it is none.
    """
    with _content(answer) as content:
        return {**content, **{name: content[name] for name in ("id", "dataset", "refused")}}


@contextmanager
def _content(answer: httpx.Response) -> Iterator[Any]:
    """The JSON of an answer; who reads it finds there what the service answers, or it came from elsewhere.

    Raises:
        ServiceError: it is not JSON, or another.
    """
    try:
        yield answer.json()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ServiceError(
            "this is no answer of the service",
            where=str(answer.url),
            found=f"{answer.headers.get('content-type', 'no content type')}, {type(error).__name__}",
            cure="check serving_url",
            status=answer.status_code,
        ) from error


def _said(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of a refusal; empty where a gateway says something else."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
