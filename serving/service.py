"""The BentoML services: `bentoml serve serving.service:Forecasts`, as `storecast serve` starts it.

Forecasts answers; its workers share a release's files. Champion runs the release's model in a process of its
own and batches what several workers ask at the same time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from typing import Any, cast

import bentoml
import httpx
import orjson

from serving import answers
from serving.access_log import AccessLog
from serving.answers import JSON, NO_STORE, Answer
from serving.door import Door
from serving.meters import Meters
from serving.problems import Problem, busy, retry
from serving.state import State
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.settings import load_settings

SETTINGS = load_settings()
DRAINING = SETTINGS.serving_home / "draining"
"""While this file is there, /readyz says no: a preStop hook makes it, so that no request comes any more."""
MOST_BATCHED = 16
PATIENCE_SECONDS, POLL_SECONDS = 5.0, 0.2
"""How long a what-if waits for the model of a release that has just come into use."""
LATENCY_MS = int(SETTINGS.serving_timeout * 1000)
REFUSED, FAILED = '{"refused"', '{"failed"'
"""How the model's answer begins where it has another release, and where it has none."""
_QUIET: dict[str, Any] = {"logging": {"access": {"enabled": False}}}


@bentoml.service(name="champion", workers=1, traffic={"timeout": SETTINGS.serving_timeout}, **_QUIET)
class Champion:
    """The release's model."""

    def __init__(self) -> None:
        # Read when the models' libraries load: a what-if is many small calls, and threads that wait for each
        # other at the end of each take a busy machine's time.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from serving.champion import ModelHost  # brings pandas, which the other service does without

        self._host = ModelHost(SETTINGS)

    @bentoml.api(batchable=True, max_batch_size=MOST_BATCHED, max_latency_ms=LATENCY_MS)  # type: ignore[untyped-decorator]
    def answer(self, questions: list[str]) -> list[str]:
        """Answer questions of several requests, each by itself; JSON texts, which pydantic leaves alone."""
        return [orjson.dumps(self._host.answer(orjson.loads(text))).decode() for text in questions]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Follow the release no longer."""
        self._host.stop()


class ChampionClient:
    """Asks Champion over its socket, in JSON (BentoML's own proxies pickle)."""

    def __init__(self, url: str) -> None:
        transport = (
            httpx.AsyncHTTPTransport(uds=url.removeprefix("file://")) if url.startswith("file") else None
        )
        base = "http://champion" if transport else url
        self._client = httpx.AsyncClient(transport=transport, base_url=base, timeout=SETTINGS.serving_timeout)

    async def ask(self, question: Mapping[str, Any]) -> Answer:
        """The answer to a question, or what hindered it.

        Raises:
            Problem: the model is busy, has not loaded the worker's release within some seconds, or could not
                answer.
        """
        until = time.time() + SETTINGS.serving_timeout
        body = orjson.dumps({"questions": [orjson.dumps({**question, "until": until}).decode()]})
        deadline = time.monotonic() + PATIENCE_SECONDS
        answer = await self._once(body)
        while answer.startswith(REFUSED):
            if time.monotonic() > deadline:
                raise _not_loaded()
            await asyncio.sleep(POLL_SECONDS)
            answer = await self._once(body)
        release = str(question["release"]).encode()
        return Answer(200, answer.encode(), JSON, [(b"storecast-release", release), NO_STORE])

    async def _once(self, body: bytes) -> str:
        typed = {"content-type": "application/json"}
        try:
            got = await self._client.post("/answer", content=body, headers=typed)
        except httpx.HTTPError as error:
            raise _not_loaded() from error
        if got.status_code == 503:
            raise busy()
        answer = str(orjson.loads(got.content)[0]) if got.status_code == 200 else FAILED
        if answer.startswith(FAILED):
            raise Problem(500, "internal", "the model could not answer", cure="see the service's log")
        return answer


def _not_loaded() -> Problem:
    return Problem(
        503, "model", "the model of this release is not loaded yet", cure="try again soon", headers=retry(2)
    )


class FrontService(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service whose requests come through the door first."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application for the processes of this service, with the door before it."""
        _log_to_stderr()
        if SETTINGS.serving_certificate:
            answers.only_over_tls()
        meters = Meters()
        watcher = Watcher(SETTINGS, ReleaseTable.open, waits=SETTINGS.serving_what_if)
        address = cast("bentoml.Service[Any]", Champion).url
        champion = ChampionClient(address) if address else None
        state = State(SETTINGS, watcher, champion, DRAINING.exists)
        return Door(super().to_asgi(is_main), state, meters, AccessLog())


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("storecast")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Front:
    """Answers from the current release; see serving.routes."""


class _WithModel(_Front):
    champion = bentoml.depends(Champion)


Forecasts = bentoml.service(
    name="forecasts",
    workers=SETTINGS.serving_workers,
    service_class=FrontService,
    traffic={"timeout": SETTINGS.serving_timeout},
    **_QUIET,
)(_WithModel if SETTINGS.serving_what_if else _Front)
