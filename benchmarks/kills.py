"""Runs that are killed at random times: the next one ends with the release of a run that nobody disturbed.

    python -m benchmarks.kills --runs 12
    python -m benchmarks.kills --runs 12 --partition 6 --seed 2

Each run of the training config `smoke`, over a small synthetic panel and in one home that was empty, gets
SIGTERM, SIGKILL or SIGINT (Ctrl-C) at a random time, by itself or with all its processes. Exits with 1 where
one does not end within the time that a pod has, leaves a process, or keeps the last one from ending well:
with the same files in its release, nothing left of what was under way, and no run that counts as running in
Prefect or MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.bars import Bars
from benchmarks.running import RUN, storecast_run
from storecast.synthetic import write_raw

SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
GRACE_SECONDS = 30.0
"""What Kubernetes gives a pod, by default, between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Killed:
    """What was done to a run, and what came of it.

    Attributes:
        text: the signal, when and to whom, and the exit code.
        ended: whether it ended by itself before.
        slow: whether it did not end in time.
        left: processes that it left behind.
    """

    text: str
    ended: bool = False
    slow: bool = False
    left: int = 0


def main() -> int:
    """Kill, look and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=12, help="how many runs are killed")
    parser.add_argument("--partition", type=int, default=0, help="as of `storecast run`")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(Path(temporary), options.runs, options.partition, random.Random(options.seed))


def _measure(folder: Path, runs: int, partition: int, chance: random.Random) -> int:
    write_raw(folder / "raw", n_stores=4, n_families=5, n_days=220, horizon=16)
    options = ["--dataset", "synthetic", "--data", str(folder / "raw"), "--profile", "smoke"]
    options += ["--partition", str(partition)]
    seconds, _ = storecast_run(options, folder / "undisturbed")
    bars = Bars()
    killed = []
    for number in range(1, runs + 1):
        killed.append(_killed(options, folder / "killed", chance, seconds))
        print(f"{number:>3}  {killed[-1].text}", flush=True)
    storecast_run(options, folder / "killed")
    bars.told("an undisturbed run, from nothing", seconds, "s")
    bars.told("runs that were killed before they ended", sum(not run.ended for run in killed))
    bars.most(f"killed runs that did not end in {GRACE_SECONDS:g} s", sum(run.slow for run in killed), 0)
    bars.most("processes left behind", sum(run.left for run in killed), 0)
    same = _releases(folder / "killed") == _releases(folder / "undisturbed")
    bars.least("the last run's releases are the undisturbed one's", float(same), 1)
    bars.most("files of work under way that are left", _scratch(folder / "killed"), 0)
    bars.most("runs that count as running", _under_way(folder / "killed"), 0)
    return 0 if bars.reached else 1


def _killed(options: list[str], home: Path, chance: random.Random, most: float) -> Killed:
    """A run that is killed at a random time within `most` seconds, if it has not ended by then."""
    how, alone = chance.choice(SIGNALS), chance.random() < 0.6
    with subprocess.Popen(
        [*RUN, *options],
        env={**os.environ, "STORECAST_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        after = chance.uniform(0.5, most)
        try:
            code = process.wait(after)
            return Killed(f"ended by itself in {after:.1f} s: {code}", ended=True)
        except subprocess.TimeoutExpired:
            (os.kill if alone else os.killpg)(process.pid, how)
        try:
            code, slow = process.wait(GRACE_SECONDS), False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code, slow = process.wait(), True
    whom = "it alone" if alone else "all its processes"
    return Killed(f"{how.name} to {whom} after {after:.1f} s: {code}", slow=slow, left=_left(home))


def _left(home: Path) -> int:
    """Processes that still work in a home when they had time to go; they are ended."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (there := _processes(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in there:
        process.kill()
    return len(there)


def _processes(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STORECAST_HOME") == str(home) and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


def _releases(home: Path) -> dict[str, str]:
    """The current releases of a home with the checksums of their files."""
    pointers = sorted((home / "releases").glob("*/current.json"))
    names = [(file.parent, json.loads(file.read_text())["current"]) for file in pointers]
    return {f"{folder.name}/{name}": (folder / name / "checksums.json").read_text() for folder, name in names}


def _scratch(home: Path) -> int:
    return sum(path.is_file() for path in (home / "scratch").rglob("*"))


def _under_way(home: Path) -> int:
    """Flow runs and MLflow's runs that are said to be running."""
    asked = {
        home / "prefect" / "prefect.db": "SELECT count(*) FROM flow_run WHERE state_type = 'RUNNING'",
        home / "mlflow.db": "SELECT count(*) FROM runs WHERE status = 'RUNNING'",
    }
    count = 0
    for file, query in asked.items():
        with closing(sqlite3.connect(file)) as database:
            count += database.execute(query).fetchone()[0]
    return count


if __name__ == "__main__":
    sys.exit(main())
