"""The service beside its bars: speed of one series and of a thousand, memory, start, what-if.

    python -m benchmarks.serving                     a synthetic panel of 1,784 series, boosting
    python -m benchmarks.serving --home DIR          the current release of a home folder

Peers answer in the same run under the same server: a bare ASGI hello before BentoML's middlewares, one
mounted behind them as BentoML's users do, and the same forecast by a typed BentoML API. The load
generator shares the cores. Exits with 1 where a bar is not reached.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil

from benchmarks.bars import Bars
from benchmarks.load import Load, drive, request
from benchmarks.running import Served, clean, free_port, get, ready, running, served, until
from benchmarks.serving_release import publish
from serving import keys
from serving.prepare import prepare
from serving.start import environment
from serving.table import ReleaseTable
from storecast.settings import Settings
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore

CONNECTIONS, ROUNDS, ROUND_SECONDS = 16, 7, 1.5
POSTED, POSTS, ASKED, ASKS, ASKING = 1_000, 40, 100, 60, 8
MIB = 2**20
ASKING_SECONDS = 5.0
BOOSTING = {"gbm", "naive"}
"""What a champion asks whose what-ifs have a bar: the seasonal naive costs nothing."""


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--home", default="", help="home folder with a current release; default: synthetic")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        copies = Path(temporary)
        home = Path(options.home or copies / "home").absolute()
        if not options.home:
            publish(home)
        bars = Bars()
        _measure(home, copies, bars)
        bars.save(options.json)
        return 0 if bars.reached else 1


def _measure(home: Path, copies: Path, bars: Bars) -> None:
    settings = Settings(home=home, serving_folder=copies / "serving")
    name = next((home / "releases").iterdir()).name
    current = ReleaseStore(DatasetStore(settings.root), name).current()
    if current is None:
        sys.exit(f"{home} has no current release: storecast run")
    token = keys.create(keys.keys_path(settings), "bench", keys.SCOPES, None)
    headers = {"authorization": f"Bearer {token}"}
    model = _model_imports(prepare(settings.root, name, current.id, copies / "other" / name))
    with served(settings) as first:
        get(first.port, "/v1/series", headers)
    _start(bars, "without a local copy", first, model)
    table = ReleaseTable.open(prepare(settings.root, name, current.id, copies / "serving" / name))
    print(
        f"{current.id}: {len(table.names):,} series × {len(table.dates)} dates; {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} before"
    )
    with served(settings) as service, _peers(copies, table) as peers:
        port, process = service.port, service.process
        _start(bars, "from the local copy", service, 0.0)
        _single(port, peers, table, headers, bars)
        _many(port, table, headers, bars)
        _memory(process, bars)
        _what_if(port, process, table, headers, bars, copies / "serving" / name / current.id)


def _start(bars: Bars, how: str, service: Served, model: float) -> None:
    """Start to ready without imports; where the model is judged first, its libraries take `model` seconds."""
    bars.told(f"start to ready {how}", service.start, "s")
    bars.told("  of that imports", service.imports + model, "s")
    bars.most("  without imports", service.start - service.imports - model, 5, "s")


def _single(port: int, peers: int, table: ReleaseTable, headers: dict[str, str], bars: Bars) -> None:
    """GET of one series, over all series in turn, beside the peers; rounds alternate."""
    names = random.Random(7).sample(list(table.names), len(table.names))
    paths = [
        "/v1/forecasts?" + urlencode(dict(zip(table.keys, n[1:], strict=True)), quote_via=quote)
        for n in names
    ]
    sent = {
        "ours": (port, [request("GET", path, headers) for path in paths]),
        "bare": (peers, [request("GET", "/bare", {})]),
        "mounted": (peers, [request("GET", "/mounted", {})]),
        "typed": (peers, [request("POST", "/typed", {}, json.dumps({"key": n[1:]}).encode()) for n in names]),
    }
    loads: dict[str, list[Load]] = {name: [] for name in sent}
    for _ in range(ROUNDS):
        for name, (where, requests) in sent.items():
            loads[name].append(drive(where, requests, connections=CONNECTIONS, seconds=ROUND_SECONDS))
    rates = {name: statistics.median(load.rate for load in found) for name, found in loads.items()}
    failed = sum(n for load in loads["ours"] for status, n in load.statuses.items() if status != 200)
    p99 = statistics.median(load.percentile(0.99) for load in loads["ours"])
    bars.least(f"GET one series, {CONNECTIONS} connections", rates["ours"], 2_500, "req/s")
    bars.most("  p99", p99, 15, "ms")
    bars.most("  failed", failed, 0)
    bars.told("  bare hello before BentoML's middlewares", rates["bare"], "req/s")
    bars.told("  bare hello mounted behind them", rates["mounted"], "req/s")
    bars.told("  the same by a typed BentoML API", rates["typed"], "req/s")
    bars.told("  ratio to the bare hello before", _ratio(loads, "bare"))
    bars.least("  ratio to the bare hello mounted", _ratio(loads, "mounted"), 0.8)
    bars.least("  ratio to the typed API", _ratio(loads, "typed"), 5)


def _ratio(loads: dict[str, list[Load]], peer: str) -> float:
    """Ours to a peer's rate, by round, the middle one: what else the machine does weighs on both."""
    return statistics.median(a.rate / b.rate for a, b in zip(loads["ours"], loads[peer], strict=True))


def _many(port: int, table: ReleaseTable, headers: dict[str, str], bars: Bars) -> None:
    """POST of a thousand series, one connection."""
    picked = [table.names[i % len(table.names)][1:] for i in range(POSTED)]
    body = json.dumps({"keys": [dict(zip(table.keys, key, strict=True)) for key in picked]}).encode()
    rows = POSTED * len(table.dates)
    for accept in ("application/json", "application/vnd.apache.arrow.stream"):
        sent = request("POST", "/v1/forecasts", {**headers, "accept": accept}, body)
        seconds = _timed(port, [sent], POSTS)
        bars.least(
            f"POST {POSTED:,} series, {accept.rpartition('.')[2]}",
            rows / statistics.median(seconds),
            500_000,
            "rows/s",
        )


def _what_if(
    port: int,
    process: subprocess.Popen[bytes],
    table: ReleaseTable,
    headers: dict[str, str],
    bars: Bars,
    folder: Path,
) -> None:
    """What-ifs of a hundred series, one after the other; the first ones load the model and warm it."""
    chosen = random.Random(3)
    known = dict.fromkeys(table.about["known"], 5)

    def question() -> bytes:
        names = chosen.sample(list(table.names), min(ASKED, len(table.names)))
        series = [{"key": dict(zip(table.keys, n[1:], strict=True)), "known": known} for n in names]
        return request("POST", "/v1/what-if", headers, json.dumps({"series": series}).encode())

    until(lambda: drive(port, [question()], connections=1, seconds=0.5).statuses.get(200, 0) > 1, 120)
    model = next(p for p in psutil.Process(process.pid).children(recursive=True) if "champion" in p.cmdline())
    before = sum(model.cpu_times()[:2])
    seconds = _timed(port, [question() for _ in range(ASKS)], ASKS)
    asked, p95 = _members(folder), sorted(seconds)[int(0.95 * len(seconds))] * 1e3
    name = f"what-if of {ASKED} series by {', '.join(asked)}, p95"
    if set(asked) <= BOOSTING:
        bars.most(name, p95, 300, "ms")
    else:
        bars.told(name, p95, "ms")
    bars.told("  time of a processor per what-if", (sum(model.cpu_times()[:2]) - before) / ASKS * 1e3, "ms")
    load = drive(port, [question() for _ in range(ASKS)], connections=ASKING, seconds=ASKING_SECONDS)
    failed = sum(n for status, n in load.statuses.items() if status != 200)
    bars.told(f"  {ASKING} at a time", load.rate, "req/s")
    bars.told("    p95", load.percentile(0.95), "ms")
    bars.most("    failed", failed, 0)


def _members(folder: Path) -> list[str]:
    """The models that a prepared release's model asks."""
    weights = folder / "bundle" / "model" / "weights.json"
    return sorted(json.loads(weights.read_text())["members"]) if weights.is_file() else ["gbm"]


def _memory(process: subprocess.Popen[bytes], bars: Bars) -> None:
    """The largest of the workers that answer."""
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [p for p in below if "--service-name" in p.cmdline() and "champion" not in p.cmdline()]
    bars.most("memory of a worker (resident)", max(p.memory_info().rss for p in workers) / MIB, 400, "MiB")
    bars.told(
        "  of that its own (shared pages by share)",
        max(p.memory_full_info().pss for p in workers) / MIB,
        "MiB",
    )
    champion = next(p for p in below if "champion" in p.cmdline())
    bars.told("memory of the model's process", champion.memory_info().rss / MIB, "MiB")


def _model_imports(folder: Path) -> float:
    """Seconds that the model's process imports for: what its first loading takes longer than the next."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "def load():\n"
        "    begin = time.perf_counter(); from serving.champion import LoadedModel\n"
        "    LoadedModel(Path(sys.argv[1])); return time.perf_counter() - begin\n"
        "print(load() - load())"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return float(subprocess.run(command, env=clean({}), check=True, capture_output=True).stdout)


@contextmanager
def _peers(copies: Path, table: ReleaseTable) -> Iterator[int]:
    port = free_port()
    folder = copies / "serving" / str(table.about["dataset"]) / table.id
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "benchmarks.serving_peers:Peers",
        "--port",
        str(port),
    ]
    said = {"BENCHMARK_TABLE": str(folder), **environment(Settings(home=copies / "peers"))}
    with running([*command, "--host", "127.0.0.1"], said, copies / "peers.log"):
        until(lambda: ready(port), 60)
        yield port


def _timed(port: int, requests: Sequence[bytes], times: int) -> list[float]:
    """Seconds of each of so many requests, one after the other over one connection."""
    found: list[float] = []
    for i in range(times):
        load = drive(port, [requests[i % len(requests)]], connections=1, seconds=1e-9)
        if set(load.statuses) != {200}:
            sys.exit(f"a request failed: {load.statuses}")
        found.append(load.seconds[0])
    return found


if __name__ == "__main__":
    sys.exit(main())
