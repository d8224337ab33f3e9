"""Mixed load for a while, with releases that change: no failed or mixed answer, no memory that grows.

    python -m benchmarks.soak --minutes 30 --swaps 20

Two releases of a synthetic panel take turns. Prints the memory of every process at the start and at the end.
Exits with 1 where an answer failed, was not what its release stores, a process was replaced, a release was
never served, or the processes' memory grew by more than a tenth after the first third.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil

from benchmarks.bars import Bars
from benchmarks.load import Load, drive, request
from benchmarks.running import served
from benchmarks.serving_release import KEYS, NAME, publish
from serving import keys
from serving.prepare import prepare
from serving.table import ReleaseTable
from storecast.settings import Settings
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore

CONNECTIONS = 16
MIX = {"one": 400, "many": 20, "what-if": 2, "series": 8}
"""Requests of each kind in a round."""
MIB = 2**20


class Watch:
    """Compares every answer with what its release stores."""

    def __init__(self, tables: dict[str, ReleaseTable], kinds: list[str]) -> None:
        self.tables, self.kinds = tables, kinds
        self.counts: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()
        self.wrong: list[str] = []

    def look(self, number: int, answer: bytes) -> None:
        """Note one answer."""
        head, _, body = answer.partition(b"\r\n\r\n")
        kind = self.kinds[number]
        self.counts[kind] += 1
        if not head.startswith(b"HTTP/1.1 200") or not self._of_one_release(kind, body):
            self.wrong.append(f"{kind}: {head[:60]!r} {body[:300]!r}")

    def _of_one_release(self, kind: str, body: bytes) -> bool:
        content = json.loads(body)
        table = self.tables[content["release"]]
        self.releases[content["release"]] += 1
        if kind == "series":
            return len(content["series"]) > 0
        for item in content["series"]:
            stored = json.loads(table.text(table.rows[tuple(item[k] for k in KEYS)]))
            if stored["yhat"] != (item["baseline"]["yhat"] if kind == "what-if" else item["yhat"]):
                return False
        return True


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--swaps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home, bars = Path(temporary) / "home", Bars()
        releases = [publish(home, stores=10, days=300, seed=seed, rounds=20) for seed in (1, 2)]
        _soak(home, releases, options.minutes * 60, options.swaps, bars)
        return 0 if bars.reached else 1


def _soak(home: Path, releases: list[Release], seconds: float, swaps: int, bars: Bars) -> None:
    settings = Settings(home=home)
    token = keys.create(keys.keys_path(settings), "soak", keys.SCOPES, None)
    local = home / "tables"
    tables = {r.id: ReleaseTable.open(prepare(str(home), NAME, r.id, local)) for r in releases}
    kinds, requests = _requests(tables[releases[0].id], {"authorization": f"Bearer {token}"})
    watch = Watch(tables, kinds)
    with served(settings) as service:
        port, process = service.port, service.process
        question = [requests[kinds.index("what-if")]]
        while drive(port, question, connections=1, seconds=0.1).statuses.get(200, 0) == 0:
            time.sleep(0.2)
        resident: list[float] = []
        start = _resident(process)
        swapping = threading.Thread(target=_swap, args=(home, releases, seconds, swaps, process, resident))
        swapping.start()
        load = drive(port, requests, connections=CONNECTIONS, seconds=seconds, look=watch.look)
        swapping.join()
        end = _resident(process)
    _tell(bars, load, watch, resident)
    _tell_memory(bars, start, end)


def _requests(table: ReleaseTable, headers: dict[str, str]) -> tuple[list[str], list[bytes]]:
    chosen = random.Random(5)
    kinds = [kind for kind, count in MIX.items() for _ in range(count)]
    chosen.shuffle(kinds)

    def key() -> dict[str, str]:
        return dict(zip(table.keys, chosen.choice(table.names)[1:], strict=True))

    def made(kind: str) -> bytes:
        if kind == "one":
            return request("GET", "/v1/forecasts?" + urlencode(key(), quote_via=quote), headers)
        if kind == "series":
            return request("GET", "/v1/series?limit=10", headers)
        if kind == "many":
            body = {"keys": [key() for _ in range(20)]}
            return request("POST", "/v1/forecasts", headers, json.dumps(body).encode())
        asked = {"series": [{"key": key(), "known": {"onpromotion": 3}}]}
        return request("POST", "/v1/what-if", headers, json.dumps(asked).encode())

    return kinds, [made(kind) for kind in kinds]


def _swap(
    home: Path,
    releases: list[Release],
    seconds: float,
    swaps: int,
    process: subprocess.Popen[bytes],
    resident: list[float],
) -> None:
    store = ReleaseStore(DatasetStore(str(home)), NAME)
    for turn in range(swaps):
        time.sleep(seconds / (swaps + 1))
        store.activate(releases[turn % 2].id, f"swap {turn}")
        resident.append(sum(_resident(process).values()))


def _resident(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """MiB of each process of the service, by what it is and its id."""
    found: dict[str, float] = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        command = child.cmdline()
        if "--service-name" in command:
            found[f"{'model' if 'champion' in command else 'worker'} {child.pid}"] = (
                child.memory_info().rss / MIB
            )
    return found


def _tell_memory(bars: Bars, start: dict[str, float], end: dict[str, float]) -> None:
    for name in sorted(start.keys() | end.keys(), reverse=True):
        before, after = start.get(name, 0.0), end.get(name, 0.0)
        print(f"  {name:<16} {before:>8.1f} MiB at the start, {after:>8.1f} MiB at the end")
    bars.most("processes that were replaced", len(start.keys() ^ end.keys()), 0)


def _tell(bars: Bars, load: Load, watch: Watch, resident: list[float]) -> None:
    print(f"{len(load.seconds):,} answers ({dict(watch.counts)}), {len(resident)} swaps")
    bars.least("answers of the release that was served less", min(watch.releases[r] for r in watch.tables), 1)
    bars.most("failed or mixed answers", len(watch.wrong), 0)
    bars.told("  answers per second", load.rate)
    bars.told("  p99", load.percentile(0.99), "ms")
    for text in watch.wrong[:5]:
        print(f"  {text}")
    settled = resident[len(resident) // 3 :]
    bars.most("memory at the end, of that after the first third", settled[-1] / settled[0], 1.1)


if __name__ == "__main__":
    sys.exit(main())
