"""What a worker keeps up besides answering: its release, the keys, the clock, the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from serving.access_log import FLUSH_SECONDS, AccessLog
from serving.keys import KeyRing
from serving.limiter import Limiter
from serving.meters import Meters
from serving.state import State

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LAG_SECONDS, LAG_EVERY, LAG_SHARE = 0.15, 0.02, 0.2
"""A worker that is on average this late with its own timers has too much before it."""
LAG_COUNTED = 2 * LAG_SECONDS
"""The most that one timer's lateness counts: a machine that stood still for a second is not overloaded."""
FIRST_LOOK_SECONDS = 15.0
"""After which a worker starts without a release."""
log = logging.getLogger("storecast.serving")


class Lag:
    """How late a worker is with its timers: an exponential moving average, in seconds."""

    def __init__(self) -> None:
        self._mean = 0.0

    def note(self, seconds: float) -> bool:
        """Count one timer's lateness; whether the worker has more before it than it can do in time."""
        self._mean += LAG_SHARE * (min(seconds, LAG_COUNTED) - self._mean)
        return self._mean > LAG_SECONDS


class Upkeep:
    """Follows what changes around a worker.

    Args:
        state: whose watcher is started and stopped.
        meters: told what the watcher and the limits count.
        access: the log, written out now and then.
        ring: the keys, read again where their file changes.
        limits: the rate limits.

    Attributes:
        late: whether the worker has more before it than it can do in time.
        leaving: whether it is about to end, so that nobody should keep a connection.
    """

    def __init__(
        self, state: State, meters: Meters, access: AccessLog, ring: KeyRing, limits: Sequence[Limiter]
    ) -> None:
        self._state, self._meters, self._access, self._ring, self._limits = (
            state,
            meters,
            access,
            ring,
            limits,
        )
        self._trouble = ""
        self.late = self.leaving = False

    async def live(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow the release, the keys and the clock for as long as BentoML's application lives."""
        watcher = self._state.watcher

        async def started(message: MutableMapping[str, Any]) -> None:
            """Take no connection before the first look: another worker may have said that all is ready."""
            if message["type"] == "lifespan.startup.complete":
                await asyncio.to_thread(watcher.looked.wait, FIRST_LOOK_SECONDS)
            await send(message)

        watcher.start()
        tasks = [asyncio.create_task(work) for work in (self._housekeeping(), self._watch_clock())]
        try:
            await app(scope, receive, started)
        finally:
            watcher.stop()
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            self._access.flush()

    async def _housekeeping(self) -> None:
        chores = (self._access.flush, self._read_keys, self._see_whether_leaving, self._tell_meters)
        failed: dict[str, str] = {}
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for chore in chores:
                name, why = chore.__name__.strip("_").replace("_", " "), _failure(chore)
                if why != failed.get(name, ""):
                    log.warning("housekeeping, %s: %s", name, why or "works again")
                failed[name] = why

    def _read_keys(self) -> None:
        self._ring.refresh()
        if self._ring.trouble != self._trouble:
            self._trouble = self._ring.trouble
            log.warning("the file of API keys: %s", self._trouble or "is good again")

    def _see_whether_leaving(self) -> None:
        self.leaving = self._state.draining()

    def _tell_meters(self) -> None:
        watcher = self._state.watcher
        self._meters.follow(
            ready=watcher.value is not None,
            swaps=watcher.swaps,
            refusals=watcher.refusals,
            failures=watcher.lookout.failures,
            uncounted=sum(limit.failures for limit in self._limits),
            unlogged=self._access.lost,
        )

    async def _watch_clock(self) -> None:
        lag = Lag()
        while True:
            due = time.perf_counter() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.late = lag.note(time.perf_counter() - due)


def _failure(chore: Callable[[], None]) -> str:
    """Do a part of the housekeeping, of which none may end the others; why it failed, "" where it did not."""
    try:
        chore()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return ""
