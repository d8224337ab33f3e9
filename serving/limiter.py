"""Rate limits per key and per address, counted by the library `limits` in this process or in Redis.

A worker takes allowances in blocks of a hundredth of a limit, so that most requests cost no look-up and Redis
is asked a hundred times a window, not once a request. What is left of a block when its window ends is lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from storecast.errors import ConfigError

BLOCKS = 100
MOST_NAMES = 20_000
UNCOUNTED = 1.0
"""Seconds for which everybody is let in when Redis does not answer."""
REDIS_SECONDS = 0.25


@dataclass
class _Block:
    left: int
    until: float


class Limiter:
    """One limit, for each name of a kind.

    Args:
        kind: what the names are: "key" or "address".
        rate: such as 100/second.
        store: redis:// URI, or "" to count in this process.

    Raises:
        ConfigError: the rate or the store is not valid.
    """

    def __init__(self, kind: str, rate: str, store: str = "") -> None:
        self.kind = kind
        try:
            self.item: RateLimitItem = parse(rate)
            storage = _storage(store)
        except Exception as error:  # whatever the library or the driver raises
            raise ConfigError(
                "the rate limit cannot be counted",
                where=f"serving_rate_per_{kind}, serving_rate_store",
                expected="a rate such as 100/second, and a redis:// URI or nothing",
                found=type(error).__name__,
            ) from error
        self._limiter = FixedWindowRateLimiter(storage)
        self._block = max(1, self.item.amount // BLOCKS)
        self._blocks: dict[str, _Block] = {}
        self.failures = 0

    def take(self, name: str) -> bool:
        """Whether one more request fits into the block at hand; if not, ask `wait`."""
        block = self._blocks.get(name)
        if block is None or block.left <= 0 or block.until <= time.time():
            return False
        block.left -= 1
        return True

    async def wait(self, name: str) -> int:
        """Take a new block: 0 if the request may go on, else the seconds until it may come again."""
        if len(self._blocks) > MOST_NAMES:
            self._blocks.clear()
        try:
            for size in dict.fromkeys((self._block, 1)):
                if await self._limiter.hit(self.item, self.kind, name, cost=size):
                    stats = await self._limiter.get_window_stats(self.item, self.kind, name)
                    self._blocks[name] = _Block(size - 1, stats.reset_time)
                    return 0
            stats = await self._limiter.get_window_stats(self.item, self.kind, name)
        except StorageError:
            self.failures += 1
            self._blocks[name] = _Block(self._block, time.time() + UNCOUNTED)
            return 0
        return max(1, int(stats.reset_time - time.time()) + 1)


def _storage(store: str) -> Any:
    if not store:
        return storage_from_string("async+memory://")
    times = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    return storage_from_string(f"async+{store}", implementation="redispy", wrap_exceptions=True, **times)
