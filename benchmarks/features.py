"""The feature table beside the same kinds of features by pandas' groupby: time and memory.

    python -m benchmarks.features --data DIR     all of Store Sales; without --data a synthetic panel

Rows are those of training cutoffs every 20 days over 440 days, 16 days ahead each. The peer is
`benchmarks/features_peer.py`: what the two have in common is compared first, so that both do the work.
Each runs in a process of its own that has read the panel; memory is what it takes beyond that at its peak.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import features_peer
from benchmarks.bars import Bars
from benchmarks.memory import peak_beyond
from benchmarks.sample import command, ended, whole_panel
from storecast.features import build, training_cutoffs, write
from storecast.panel import Panel
from storecast.panel_io import read_panel, write_panel

TIMES, OF_PANEL = 5, 2
STEP_DAYS, WINDOW_DAYS = 20, 440
COMMON = ("base", "zeros_2w", "sd_2w", "sd_8w", "level_when_selling", "payday_until", "holiday_national")
PEERS_NAME = {"base": "weekday_mean_6"}
MIB = 2**20


@dataclass(frozen=True)
class Took:
    """What a way of making the table took: seconds, bytes beyond the panel, and what it made."""

    seconds: float
    memory: int
    rows: int
    columns: int
    common: dict[str, float]


def main() -> int:
    """Measure and print; the exit code."""
    options = command("features", __doc__, 0).parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        panel = whole_panel(options.data, work / "raw", stores=50)
        if options.series:
            panel = panel.select(slice(0, options.series))
        (work / "panel").mkdir()
        write_panel(panel, work / "panel")
        size = sum(x.nbytes for x in (panel.y, *panel.known.values(), *panel.past.values()))
        print(f"{panel.n_series:,} series × {len(panel.dates):,} dates, {size / MIB:.0f} MiB")
        del panel
        found = {way: _alone(way, work / "panel") for way in ("build", "write", "pandas")}
    _tell(bars, found, size)
    return ended(bars, options.json)


def _tell(bars: Bars, found: dict[str, Took], size: int) -> None:
    ours, stage, peer = found["build"], found["write"], found["pandas"]
    apart = max(abs(ours.common[name] - peer.common[name]) for name in COMMON)
    bars.most(f"common features of {ours.rows:,} rows differ by", apart, 1e-3)
    bars.quicker(f"feature table of {ours.columns} columns", ours.seconds, "s", "pandas", peer.seconds, TIMES)
    bars.told("  columns of the peer's", peer.columns)
    bars.told("  as the stage does it, written as Parquet", stage.seconds, "s")
    bars.most("memory beyond the panel, of the panel's", stage.memory / size, OF_PANEL)
    bars.quicker("  in MiB", stage.memory / MIB, "MiB", "pandas", peer.memory / MIB)
    bars.told("  with the table in memory, as a fit without the stage", ours.memory / MIB, "MiB")


def _alone(way: str, folder: Path) -> Took:
    """Make the table in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (way, folder))


def measure(way: str, folder: Path) -> Took:
    """In that process: "build" and "write" are ours, "pandas" the peer."""
    panel = read_panel(folder)
    cutoffs = training_cutoffs(panel, STEP_DAYS, WINDOW_DAYS)
    cutoffs = cutoffs[cutoffs <= panel.dates[panel.n_history - 1 - panel.horizon]]
    build(panel.select(slice(0, 4)), cutoffs[:1])
    frame = features_peer.long_frame(panel) if way == "pandas" else pd.DataFrame()
    with peak_beyond() as peak, tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        if way == "write":
            rows, columns, common = write(Path(temporary), panel, cutoffs), 0, {}
        else:
            rows, columns, common = _made(way, frame, panel, cutoffs)
        seconds = time.perf_counter() - began
    return Took(seconds, peak.bytes, rows, columns, common)


def _made(
    way: str, frame: pd.DataFrame, panel: Panel, cutoffs: pd.DatetimeIndex
) -> tuple[int, int, dict[str, float]]:
    if way == "build":
        ours = build(panel, cutoffs)
        common = {name: float(np.nanmean(np.abs(ours.column(name)))) for name in COMMON}
        return len(ours.y), len(ours.names), common
    theirs = features_peer.table(frame, panel, cutoffs, panel.horizon)
    names = {name: PEERS_NAME.get(name, name) for name in COMMON}
    common = {name: float(theirs[column].abs().mean()) for name, column in names.items()}
    return len(theirs), theirs.shape[1] - 5, common


if __name__ == "__main__":
    raise SystemExit(main())
