"""What every request passes before it is answered, as an ASGI application around BentoML's.

Probes and metrics go through to whoever asks from inside. All else needs a key of the right scope and stays
within the limits; beyond capacity it is turned away at once. GET /v1/forecasts, of which there are thousands
a second, is answered right here: the text of an answer is kept by its query string until the release changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from serving import answers, bodies, keys, pointing, problems, routes
from serving.access_log import AccessLog
from serving.answers import NO_STORE, Answer, Messages
from serving.cache import Cache
from serving.keys import ANYBODY, Key, KeyRing
from serving.limiter import Limiter
from serving.meters import Meters
from serving.problems import Problem
from serving.state import Request, State
from serving.upkeep import App, Receive, Scope, Send, Upkeep
from storecast.errors import no_answer

FORECASTS = "/v1/forecasts"
MOST_IN_FLIGHT, MOST_WHAT_IFS = 64, 16
"""Requests that a worker has under way; what-ifs wait for the model in places of their own, so that others
find one however long the model takes."""
CLOSE = (b"connection", b"close")
"""Said while draining, so that who keeps a connection opens the next one elsewhere."""
log = logging.getLogger("storecast.serving")


@dataclass(slots=True)
class Places:
    """How many requests may be under way, and how many are."""

    most: int
    taken: int = 0


@dataclass(slots=True)
class _Note:
    """What the log says of a request."""

    who: str = "-"
    route: str = "none"
    release: str = ""


class Door:
    """The application that a worker serves.

    Args:
        app: BentoML's own application: life cycle and metrics.
        state: what the endpoints answer from.
        meters: Prometheus.
        access: the access log.

    Raises:
        ConfigError: a rate limit is not valid.
    """

    def __init__(self, app: App, state: State, meters: Meters, access: AccessLog) -> None:
        self.app, self.state, self.meters, self.access = app, state, meters, access
        settings = state.settings
        self.ring = KeyRing(*keys.key_files(settings))
        self.open = settings.serving_open
        store = settings.serving_rate_store.get_secret_value()
        self.by_key = Limiter("key", settings.serving_rate_per_key, store)
        self.by_address = Limiter("address", settings.serving_rate_per_address, store)
        self.cache: Cache | None = None
        self.places, self.what_ifs = Places(MOST_IN_FLIGHT), Places(MOST_WHAT_IFS)
        self.upkeep = Upkeep(state, meters, access, self.ring, (self.by_key, self.by_address))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; pass the life cycle on."""
        if scope["type"] == "lifespan":
            await self.upkeep.live(self.app, scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        method, note = scope["method"], _Note()
        if scope["path"] in _PROBES and method == "GET":
            await self._probe(scope["path"], scope, receive, send)
            return
        try:
            start, body = await self._reply(scope, receive, note)
        except Problem as problem:
            start, body = _told(problem)
        except Exception as error:  # the log has it, the asker gets no trace
            log.exception("a request to %s failed", note.route)
            start, body = _told(problems.store_away() if no_answer(error) else problems.internal())
        if self.upkeep.leaving:
            start = {**start, "headers": [*start["headers"], CLOSE]}
        await send(start)
        await send(body)
        seconds, status = time.perf_counter() - begin, start["status"]
        self.meters.note(note.route, status, seconds)
        name = method if method in _METHODS else "other"
        self.access.add(note.who, name, note.route, status, seconds, note.release)

    async def _reply(self, scope: Scope, receive: Receive, note: _Note) -> Messages:
        """The messages that answer a request.

        Raises:
            Problem: it cannot be answered.
        """
        authorization = accepted = known = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"accept-encoding":
                accepted = value
            elif name == b"if-none-match":
                known = value
        key = await self._admit(scope, authorization)
        note.who = key.id
        gzip = b"gzip" in accepted
        if scope["path"] == FORECASTS and scope["method"] == "GET":
            note.route = FORECASTS
            _need(key, "read")
            table = self.state.table()
            note.release = table.id
            if self.cache is None or self.cache.table is not table:
                self.cache = Cache(table)
            found = self.cache.messages(scope["query_string"], gzip)
            return _unchanged(answers.of_release(table)) if known and _has(known, table.id) else found
        note.route, needed, endpoint = routes.find(scope["path"], scope["method"])
        _need(key, needed)
        answer = await self._ask(endpoint, scope, receive)
        note.release = self.state.watcher.release
        if known and dict(answer.headers).get(b"etag") and _has(known, note.release):
            return _unchanged(answer.headers)
        return (answer.compressed() if gzip else answer).messages()

    async def _admit(self, scope: Scope, authorization: bytes) -> Key:
        """Who asks.

        Raises:
            Problem: nobody who may, or too often, or too much is under way.
        """
        if self.upkeep.late:
            self.meters.shed.inc()
            raise problems.busy()
        client = scope.get("client")
        address = client[0] if client else "local"
        if not self.by_address.take(address) and (seconds := await self.by_address.wait(address)):
            raise problems.too_many(seconds, "address")
        if authorization[:7].lower() == b"bearer ":
            key = self.ring.find(authorization[7:])
            if key is None:
                raise problems.no_key("the API key is not valid or has expired")
        elif self.open:
            key = ANYBODY
        else:
            raise problems.no_key("an API key is needed")
        if not self.by_key.take(key.id) and (seconds := await self.by_key.wait(key.id)):
            raise problems.too_many(seconds, "key")
        return key

    async def _ask(self, endpoint: routes.Endpoint, scope: Scope, receive: Receive) -> Answer:
        places = self.what_ifs if endpoint is routes.what_if else self.places
        if places.taken >= places.most:
            self.meters.shed.inc()
            raise problems.busy()
        places.taken += 1
        try:
            async with asyncio.timeout(self.state.settings.serving_timeout) as patience:
                body, most = b"", self.state.settings.serving_body_bytes
                if scope["method"] == "POST":
                    body = await bodies.read(scope, receive, most)
                if endpoint in pointing.MOVES:
                    patience.reschedule(None)
                accept = dict(scope["headers"]).get(b"accept", b"")
                return await endpoint(self.state, Request(scope["path"], scope["query_string"], body, accept))
        except TimeoutError as error:
            raise Problem(
                503,
                "timeout",
                "the request took too long",
                cure="ask for less, or later",
                headers=problems.retry(1),
            ) from error
        finally:
            places.taken -= 1

    async def _probe(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/metrics":
            await self.app(scope, receive, send)
            return
        watcher = self.state.watcher
        able = watcher.value is not None or watcher.empty
        ready = path == "/livez" or (able and not self.state.draining())
        answer = answers.json({"release": watcher.release or None}, status=200 if ready else 503)
        start, body = answer.messages()
        await send(start)
        await send(body)


_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _need(key: Key, scope: str) -> None:
    if scope not in key.scopes:
        raise problems.scope_missing(scope)


def _has(known: bytes, release: str) -> bool:
    """Whether If-None-Match names a release."""
    return known == b"*" or b'"' + release.encode() + b'"' in known


def _unchanged(headers: list[answers.Header]) -> Messages:
    return Answer(304, b"", headers=headers).messages()


def _told(problem: Problem) -> Messages:
    return Answer(problem.status, problem.body(), answers.PROBLEM, [*problem.headers, NO_STORE]).messages()
