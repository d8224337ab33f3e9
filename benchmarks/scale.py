"""The panel grown: time per row and per series, and memory, of every stage at several sizes.

    python -m benchmarks.scale --folder DIR --size 1                     every stage at one size
    python -m benchmarks.scale --folder DIR --size 3 --stage boosting    one stage; those before it are kept
    python -m benchmarks.scale --folder DIR --print                      the table of what was measured

Size 1 is Store Sales' 1,782 series of 1,684 days, synthetic; raw files are written store by store. Each
stage runs in a process of its own, whose memory (PSS, with all below it) is sampled. A stage's time per unit
is to be within 20 % of that at the smallest size, and its memory too: one that misses it holds the panel.
Where one runs out of time or memory, that is told. Without options: sizes 0.25 and 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars
from benchmarks.memory import tree_peak
from benchmarks.sample import ended
from benchmarks.scale_stages import STAGES, Done, inside

FLAT = 1.2
GIB = 2**30
UNTIMED = ("raw", "to_serve")
"""What only makes ground for the stages."""


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", default="", help="where sizes are kept; default: a temporary folder")
    parser.add_argument("--size", default="", help="times Store Sales, by commas")
    parser.add_argument("--stage", default=",".join(STAGES), help="stages, by commas")
    parser.add_argument("--limit", type=float, default=0.0, help="GiB that a stage may take")
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        sizes = [] if options.print else [float(size) for size in (options.size or "0.25,1").split(",")]
        for size in sizes:
            for stage in options.stage.split(","):
                _measure(folder, size, stage, options.limit)
        bars = Bars()
        _tell(bars, folder)
        return ended(bars, options.json)


def _measure(folder: Path, size: float, stage: str, limit: float) -> None:
    """Run a stage at a size in a process of its own and keep what it took."""
    figures = folder / f"{size:g}" / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_inside, args=(folder, size, stage, limit, results))
    process.start()
    with tree_peak(process.pid or 0) as peak:
        process.join()
    done = None if results.empty() else results.get()
    found: dict[str, Any] = {"size": size, "stage": stage, "memory": peak.bytes, "failed": done is None}
    if isinstance(done, Done):
        found |= asdict(done)
    (figures / f"{stage}.json").write_text(json.dumps(found, indent=1))
    print(f"size {size:g}, {stage}: {found}", flush=True)


def _inside(folder: Path, size: float, stage: str, limit: float, results: Any) -> None:
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * GIB),) * 2)
    results.put(inside(folder, size, stage))


def _tell(bars: Bars, folder: Path) -> None:
    """Each stage's figures at the smallest size, and how those of the others compare."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/figures/*.json")]
    if not found:
        sys.exit(f"{folder} holds no figures")
    for stage in (name for name in STAGES if name not in UNTIMED):
        rows = sorted((row for row in found if row["stage"] == stage), key=lambda row: row["size"])
        if rows:
            _tell_stage(bars, stage, rows)


def _tell_stage(bars: Bars, stage: str, rows: Sequence[dict[str, Any]]) -> None:
    good = [row for row in rows if not row["failed"]]
    for row in rows:
        name = f"{stage} at {row['size']:g}"
        if row["failed"]:
            bars.missing(name, f"did not end; {row['memory'] / GIB:.1f} GiB when it stopped")
            continue
        per = f"µs/{row['unit']}"
        first = good[0]
        slope = row["seconds"] / row["units"] * 1e6
        if row is first:
            bars.told(name, slope, per)
            bars.told("  its memory", row["memory"] / GIB, "GiB")
            continue
        peer = f"at {first['size']:g}"
        bars.quicker(name, slope, per, peer, first["seconds"] / first["units"] * 1e6, 1 / FLAT)
        bars.quicker("  its memory", row["memory"] / GIB, "GiB", peer, first["memory"] / GIB, 1 / FLAT)


if __name__ == "__main__":
    raise SystemExit(main())
