"""The two clients, blocking and async: what they send, and how patient they are."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from itertools import count
from numbers import Integral, Real
from types import TracebackType
from typing import Any, Self

import httpx

from storecast.client import answers
from storecast.client.answers import Forecasts, Key, ServiceError, WhatIf

ATTEMPTS = 4
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
"""Seconds between attempts, which double, where the service does not say when to come back."""
PATIENCE = 60.0
"""The longest wait in seconds that the service may ask for; one that asks for more has refused."""
AGAIN = frozenset({429, 502, 503, 504})
LOST = (httpx.NetworkError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.RemoteProtocolError)
"""No connection was found, or it broke. A slow answer is none of them: it would only be begun anew."""


class _Requests:
    """What both clients send and how they read it."""

    def __init__(self, url: str, key: str, timeout: float, attempts: int) -> None:
        self._attempts, self._timeout = attempts, timeout
        try:
            self._options: dict[str, Any] = {
                "base_url": httpx.URL(url),
                "timeout": timeout,
                "headers": httpx.Headers({"authorization": f"Bearer {key}"} if key else {}),
            }
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ServiceError(
                "no service has such an address or key",
                where=url,
                found=str(error),
                cure="check serving_url and serving_key",
            ) from error

    @staticmethod
    def _forecasts_body(
        keys: Sequence[Key], start: str | None, end: str | None, quantiles: Sequence[float] | None
    ) -> dict[str, Any]:
        levels = None if quantiles is None else [_number(level, "quantiles") for level in quantiles]
        said = {"from": start, "to": end, "quantiles": levels}
        return {"keys": [dict(key) for key in keys], **{k: v for k, v in said.items() if v is not None}}

    @staticmethod
    def _what_if_body(
        changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]]
    ) -> dict[str, Any]:
        series = [
            {"key": dict(key), "known": {name: _values(value, name) for name, value in known.items()}}
            for key, known in changes
        ]
        return {"series": series, "events": [dict(event) for event in events]}

    def _pause(
        self, attempt: int, answer: httpx.Response | None, error: httpx.RequestError | None
    ) -> float | None:
        """Seconds until a request, all of which only ask, is sent again; None where it is not."""
        again = isinstance(error, LOST) if answer is None else answer.status_code in AGAIN
        if not again or attempt + 1 >= self._attempts:
            return None
        said = answer.headers.get("retry-after", "") if answer is not None else ""
        if said.isdecimal():
            return float(said) if float(said) <= PATIENCE else None
        return min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT)


class Client(_Requests):
    """The blocking client.

    Args:
        url: where the service is.
        key: API key; "": none.
        timeout: seconds a request may take.
        attempts: how often a request is sent at most.

    Raises:
        ServiceError: no address or key is written like that.
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
        return answers.forecasts(
            self._send("POST", "/v1/forecasts", self._forecasts_body(keys, start, end, quantiles))
        )

    def what_if(
        self, changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]] = ()
    ) -> WhatIf:
        """The model's forecast if covariates (a number, or numbers by ISO date) or the calendar were others.

        Raises:
            ServiceError: a value is not a finite number, or the service refused the request or cannot be
                reached.
        """
        return answers.what_if(self._send("POST", "/v1/what-if", self._what_if_body(changes, events)))

    def current(self) -> dict[str, Any]:
        """The release that is served: id, age, metrics, lineage.

        Raises:
            ServiceError: the service refused the request or cannot be reached.
        """
        return answers.current(self._send("GET", "/v1/releases/current", None))

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
        for attempt in count():
            answer, error = None, None
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.RequestError as caught:
                error = caught
            pause = self._pause(attempt, answer, error)
            if pause is None:
                break
            time.sleep(pause)
        return answers.checked(answer, error, path, self._timeout)


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
        return answers.forecasts(await self._send("POST", "/v1/forecasts", body))

    async def what_if(
        self, changes: Sequence[tuple[Key, Mapping[str, Any]]], events: Sequence[Mapping[str, str]] = ()
    ) -> WhatIf:
        """As `Client.what_if`."""
        return answers.what_if(await self._send("POST", "/v1/what-if", self._what_if_body(changes, events)))

    async def current(self) -> dict[str, Any]:
        """As `Client.current`."""
        return answers.current(await self._send("GET", "/v1/releases/current", None))

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
        for attempt in count():
            answer, error = None, None
            try:
                answer = await self._http.request(method, path, json=body)
            except httpx.RequestError as caught:
                error = caught
            pause = self._pause(attempt, answer, error)
            if pause is None:
                break
            await asyncio.sleep(pause)
        return answers.checked(answer, error, path, self._timeout)


def _values(value: Any, name: str) -> Any:
    """What a covariate would be: a number, or numbers by date.

    Raises:
        ServiceError: one is not finite.
    """
    if isinstance(value, Mapping):
        return {day: _number(number, f"{name} on {day}") for day, number in value.items()}
    return _number(value, name)


def _number(value: object, name: str) -> float:
    """A number as JSON has it: NumPy's become Python's.

    Raises:
        ServiceError: it is not finite.
    """
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ServiceError(
            "a value cannot be sent",
            where=name,
            expected="a finite number",
            found=repr(value),
            cure="fill it in",
        )
    return int(value) if isinstance(value, Integral) else float(value)
