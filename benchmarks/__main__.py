"""The main job on a real panel: wall time, peak memory, accuracy and coverage, beside their bars.

    python -m benchmarks --data DIR                    the full profile (bars: 30 minutes, 4 GiB)
    python -m benchmarks --data DIR --profile quick    the quick one (bar: 10 minutes)
    python -m benchmarks --data DIR --profile best     the best one (bars: 60 minutes, 8 GiB)

Runs `storecast run` from nothing, in a home folder of its own. The peer in the run is the seasonal naive.
Memory is the sum over all processes of the run, shared pages counted once (PSS).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.bars import Bars
from benchmarks.running import storecast_run

RMSLE_BARS = {"arima": 0.46, "prophet": 0.50, "lstm": 0.42, "gbm": 0.395, "blend": 0.39}
COVERAGE_BARS = {"coverage_80": (0.76, 0.84), "coverage_95": (0.92, 0.97)}
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
        _accuracy(bars, home)
    bars.save(options.json)
    return 0 if bars.reached else 1


def _time_and_memory(bars: Bars, profile: str, seconds: float, peak: int) -> None:
    minutes = MINUTES.get(profile)
    if minutes is None:
        bars.told("wall time", seconds / 60, "min")
    else:
        bars.most("wall time", seconds / 60, minutes, "min")
    bars.most("peak memory", peak / GIB, GIGABYTES.get(profile, 4), "GiB")


def _accuracy(bars: Bars, home: Path) -> None:
    found = sorted(home.glob("datasets/evaluate/*/scores.json"), key=lambda path: path.stat().st_mtime)
    scores = pd.DataFrame(json.loads(found[-1].read_text()))
    table = scores.pivot_table(index="model", columns="cutoff", values="rmsle")
    print("\npooled RMSLE by fold (cutoff)")
    print(table.sort_values(table.columns[-1]).round(4).to_string())
    print()
    last = scores[scores["cutoff"] == scores["cutoff"].max()].set_index("model")
    for model, bar in RMSLE_BARS.items():
        if model in last.index:
            bars.most(f"{model} RMSLE, last fold", float(last.loc[model, "rmsle"]), bar)
    bars.told("seasonal naive RMSLE, last fold", float(last.loc["naive", "rmsle"]))
    for column, (low, high) in COVERAGE_BARS.items():
        bars.within(f"blend {column}", float(last.loc["blend", column]), low, high)


if __name__ == "__main__":
    raise SystemExit(main())
