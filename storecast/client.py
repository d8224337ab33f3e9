"""A client of the service: forecasts and what-ifs, typed, with retries, blocking or async.

    with Client("http://localhost:3000", key) as client:
        answer = client.forecasts([{"store_nbr": "1", "family": "GROCERY I"}], quantiles=[0.1, 0.9])
        answer.series[0].columns["yhat"]

Requests that were turned away (429, 503) and those that found no connection are sent again, after the time
that the service asks for or one that doubles. Errors are `ServiceError`, with what the service said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from storecast.errors import StorecastError

ATTEMPTS = 4
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
AGAIN = frozenset({429, 502, 503, 504})
Key = Mapping[str, str]


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


class _Requests:
    """What both clients send and how they read it."""

    def __init__(self, url: str, key: str, timeout: float, attempts: int) -> None:
        self._attempts = attempts
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout,
            "headers": {"authorization": f"Bearer {key}"} if key else {},
        }

    @staticmethod
    def _forecasts_body(
        keys: Sequence[Key], start: str | None, end: str | None, quantiles: Sequence[float] | None
    ) -> dict[str, Any]:
        said = {"from": start, "to": end, "quantiles": None if quantiles is None else list(quantiles)}
        return {"keys": [dict(key) for key in keys], **{k: v for k, v in said.items() if v is not None}}

    @staticmethod
    def _what_if_body(
        changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]]
    ) -> dict[str, Any]:
        series = [{"key": dict(key), "known": dict(known)} for key, known in changes]
        return {"series": series, "events": [dict(event) for event in events]}

    def _wait(self, attempt: int, answer: httpx.Response | None) -> float:
        """Seconds until the next attempt."""
        said = answer.headers.get("retry-after", "") if answer is not None else ""
        return min(float(said) if said.isdigit() else FIRST_WAIT * 2**attempt, LONGEST_WAIT)

    def _again(self, attempt: int, answer: httpx.Response | None) -> bool:
        return attempt + 1 < self._attempts and (answer is None or answer.status_code in AGAIN)


class Client(_Requests):
    """The blocking client.

    Args:
        url: where the service is.
        key: API key; "": none.
        timeout: seconds a request may take.
        attempts: how often a request is sent at most.
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, attempts: int = ATTEMPTS) -> None:
        super().__init__(url, key, timeout, attempts)
        self._http = httpx.Client(**self._options)

    def forecasts(
        self,
        keys: Sequence[Key],
        *,
        start: str | None = None,
        end: str | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> Forecasts:
        """Forecasts of some series, from `start` to `end` (ISO dates, both included).

        Raises:
            ServiceError: the service refused the request or cannot be reached.
        """
        return _forecasts(
            self._send("POST", "/v1/forecasts", self._forecasts_body(keys, start, end, quantiles))
        )

    def what_if(
        self, changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]] = ()
    ) -> WhatIf:
        """The model's forecast if covariates (a number, or numbers by ISO date) or the calendar were others.

        Raises:
            ServiceError: the service refused the request or cannot be reached.
        """
        return _what_if(self._send("POST", "/v1/what-if", self._what_if_body(changes, events)))

    def current(self) -> dict[str, Any]:
        """The release that is served: id, age, metrics, lineage.

        Raises:
            ServiceError: the service refused the request or cannot be reached.
        """
        content: dict[str, Any] = self._send("GET", "/v1/releases/current", None).json()
        return content

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        attempt = 0
        while True:
            answer, error = None, None
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TransportError as caught:
                error = caught
            if not self._again(attempt, answer):
                return _checked(answer, error, path)
            time.sleep(self._wait(attempt, answer))
            attempt += 1


class AsyncClient(_Requests):
    """The async client; see `Client`."""

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, attempts: int = ATTEMPTS) -> None:
        super().__init__(url, key, timeout, attempts)
        self._http = httpx.AsyncClient(**self._options)

    async def forecasts(
        self,
        keys: Sequence[Key],
        *,
        start: str | None = None,
        end: str | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> Forecasts:
        """As `Client.forecasts`."""
        body = self._forecasts_body(keys, start, end, quantiles)
        return _forecasts(await self._send("POST", "/v1/forecasts", body))

    async def what_if(
        self, changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]] = ()
    ) -> WhatIf:
        """As `Client.what_if`."""
        return _what_if(await self._send("POST", "/v1/what-if", self._what_if_body(changes, events)))

    async def current(self) -> dict[str, Any]:
        """As `Client.current`."""
        content: dict[str, Any] = (await self._send("GET", "/v1/releases/current", None)).json()
        return content

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        attempt = 0
        while True:
            answer, error = None, None
            try:
                answer = await self._http.request(method, path, json=body)
            except httpx.TransportError as caught:
                error = caught
            if not self._again(attempt, answer):
                return _checked(answer, error, path)
            await asyncio.sleep(self._wait(attempt, answer))
            attempt += 1


def _checked(answer: httpx.Response | None, error: Exception | None, path: str) -> httpx.Response:
    if answer is None:
        raise ServiceError(
            "the service cannot be reached", where=path, found=type(error).__name__, cure="check its address"
        ) from error
    if answer.is_success:
        return answer
    try:
        said = answer.json()
    except ValueError:
        said = {}
    raise ServiceError(
        str(said.get("title", "the service refused the request")),
        where=f"{path} {said.get('field', '')}".strip(),
        expected=str(said.get("expected", "")),
        found=f"status {answer.status_code}",
        cure=str(said.get("cure", "")),
        status=answer.status_code,
    )


def _forecasts(answer: httpx.Response) -> Forecasts:
    content = answer.json()
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


def _what_if(answer: httpx.Response) -> WhatIf:
    content = answer.json()
    told = ("unique_id", "ds", "baseline", "what_if", "difference")
    series = [
        Changed(**{name: item[name] for name in told}, key={k: v for k, v in item.items() if k not in told})
        for item in content["series"]
    ]
    return WhatIf(content["release"], series, content["unknown"])
