"""The main job on a real panel: wall time, peak memory, accuracy and coverage, beside their bars.

    python -m benchmarks --data DIR                    the full profile (bars: 30 minutes, 4 GiB)
    python -m benchmarks --data DIR --profile quick    the quick one (bar: 10 minutes)
    python -m benchmarks --data DIR --profile best     the best one (bars: 60 minutes, 8 GiB)

Runs `storecast run` from nothing, in a home folder of its own, and then `benchmarks.accuracy` on it, where
the peers are. Memory is the sum over all processes of the run, shared pages counted once (PSS).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.accuracy import judge
from benchmarks.bars import Bars
from benchmarks.running import storecast_run
from benchmarks.sample import ended

MINUTES = {"full": 30, "quick": 10, "best": 60}
GIB = 2**30
GIGABYTES = {"full": 4, "quick": 4, "best": 8}


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the Store Sales files")
    parser.add_argument("--dataset", default="store_sales", help="data set config")
    parser.add_argument("--profile", default="full", help="training config")
    parser.add_argument("--home", default="", help="keep the run here; default: a temporary folder")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(options.home or temporary)
        of = ("--dataset", options.dataset, "--data", options.data, "--profile", options.profile)
        seconds, peak = storecast_run(of, home)
        print(f"\n{len(os.sched_getaffinity(0))} cores")
        _time_and_memory(bars, options.profile, seconds, peak)
        judge(bars, home, options.profile)
    return ended(bars, options.json)


def _time_and_memory(bars: Bars, profile: str, seconds: float, peak: int) -> None:
    minutes = MINUTES.get(profile)
    if minutes is None:
        bars.told("wall time", seconds / 60, "min")
    else:
        bars.most("wall time", seconds / 60, minutes, "min")
    bars.most("peak memory", peak / GIB, GIGABYTES.get(profile, 4), "GiB")


if __name__ == "__main__":
    raise SystemExit(main())
