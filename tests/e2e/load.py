"""Load on the service from inside the cluster, as users bring it; every fifth request on a new connection.

A pod runs this with URL and KEY in its environment, until the pod is deleted. The file /tmp/rate says how
many requests a second there are to be: of forecasts, and of what-ifs. Once a second a line of JSON says what
was counted so far. A request that was turned away or found no connection is sent again, as storecast.client
does; it has failed when that did not help, or when the answer is wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import httpx

RATE = Path("/tmp/rate")  # noqa: S108 - in the container
TICK, ATTEMPTS, MOST, FIRST_WAIT = 0.02, 4, 100, 0.2
AGAIN = frozenset({429, 502, 503, 504})


class Load:
    """What is asked, and how it ended."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        options: dict[str, Any] = {"base_url": url, "timeout": 20, "headers": headers}
        self.kept = httpx.AsyncClient(**options, limits=httpx.Limits(max_keepalive_connections=MOST))
        self.fresh = httpx.AsyncClient(**options, limits=httpx.Limits(max_keepalive_connections=0))
        self.series: list[dict[str, str]] = []
        self.last: dict[str, float] = {}
        self.ended: Counter[str] = Counter(answered=0, failed=0, new_connections=0, sent_again=0)
        self.why: Counter[str] = Counter()
        self.seconds: deque[float] = deque(maxlen=5_000)

    async def find_series(self) -> None:
        """Wait for the service, and learn what can be asked."""
        while not self.series:
            try:
                answer = await self.kept.get("/v1/series")
                answer.raise_for_status()
                told = answer.json()["series"]
                self.series = [{k: v for k, v in each.items() if k != "unique_id"} for each in told]
            except httpx.HTTPError:
                await asyncio.sleep(1)

    async def ask(self, number: int, what_if: bool) -> None:
        """One request, and again where that is the thing to do."""
        client = self.fresh if number % 5 == 0 else self.kept
        self.ended["new_connections"] += client is self.fresh
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            wait = FIRST_WAIT * 2**attempt
            try:
                answer = await self._send(client, number, what_if)
                why, wait = self._problem(answer), float(answer.headers.get("retry-after", wait))
            except httpx.TransportError as error:
                why = type(error).__name__
            if not why:
                self.ended["answered"] += 1
                self.seconds.append(time.monotonic() - began)
                return
            self.why[why] += 1
            if why.startswith("wrong"):
                break
            self.ended["sent_again"] += attempt + 1 < ATTEMPTS
            await asyncio.sleep(wait)
        self.ended["failed"] += 1

    async def _send(self, client: httpx.AsyncClient, number: int, what_if: bool) -> httpx.Response:
        if not what_if:
            return await client.get("/v1/forecasts", params=self.series[number % len(self.series)])
        asked = {"key": self.series[number % len(self.series)], "known": {"onpromotion": number % 7}}
        return await client.post("/v1/what-if", json={"series": [asked]})

    def _problem(self, answer: httpx.Response) -> str:
        """What is wrong with an answer; empty when nothing is."""
        if answer.status_code in AGAIN:
            return f"status {answer.status_code}"
        if answer.status_code != 200:
            return f"wrong: status {answer.status_code} {answer.text[:200]}"
        content, release = answer.json(), answer.headers["storecast-release"]
        self.last[release] = time.time()
        if content["release"] != release or not content["series"]:
            return "wrong: the answer is of two releases, or empty"
        return ""

    def told(self) -> str:
        """The counts, as a line."""
        slow = sorted(self.seconds)[int(0.99 * len(self.seconds))] if self.seconds else 0.0
        said = {**self.ended, "why": self.why, "p99_ms": round(1000 * slow), "last": self.last}
        return json.dumps(said)


async def main() -> None:
    """Ask at the rate of the file, for ever."""
    load = Load(os.environ["URL"], os.environ["KEY"])
    await load.find_series()
    tasks: set[asyncio.Task[None]] = set()
    owed, number, before, said = [0.0, 0.0], 0, time.monotonic(), 0.0
    while True:
        await asyncio.sleep(TICK)
        rate = RATE.read_text() if RATE.exists() else "0 0"
        now = time.monotonic()
        for kind, wanted in enumerate(map(float, rate.split())):
            owed[kind] = min(owed[kind] + wanted * (now - before), MOST)
            while owed[kind] >= 1 and len(tasks) < MOST:
                owed[kind] -= 1
                number += 1
                task = asyncio.create_task(load.ask(number, bool(kind)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        before = now
        if now - said >= 1:
            said = now
            print(load.told(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
