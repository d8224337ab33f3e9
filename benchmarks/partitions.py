"""A panel in partitions beside a panel of one partition's size, and beside itself whole.

    python -m benchmarks.partitions --folder DIR --size 4      synthetic: in partitions of Store Sales' size
    python -m benchmarks.partitions --data DIR --by family     Store Sales, whole and in three partitions

The first holds time per series and memory of a whole run, from raw files to releases, against those of a run
of one partition's size: they are to be within 20 %, whatever the panel. The second tells what it costs models
that learn from all series together to see a part of them: RMSLE of each model on each fold.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.bars import Bars
from benchmarks.running import storecast_run
from benchmarks.sample import ended
from benchmarks.scale import FLAT, GIB
from benchmarks.scale_data import FAMILIES, NAME, STORES, write_raw
from storecast.configs import config_folder

SCORES = "scores.json"


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.partitions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", default="", help="where everything is kept; default: a temporary folder")
    parser.add_argument("--size", type=float, default=4, help="times Store Sales")
    parser.add_argument("--data", default="", help="folder of the Store Sales files: compare whole and cut")
    parser.add_argument("--parts", type=int, default=3, help="partitions of Store Sales")
    parser.add_argument("--by", default="store_nbr", help="column that Store Sales is cut by")
    parser.add_argument("--models", default="naive,arima,gbm", help="by commas")
    parser.add_argument("--profile", default="quick", help="the models' profile")
    parser.add_argument("--folds", type=int, default=1, help="of the backtest")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        training = folder / "training.yaml"
        models = ", ".join(options.models.split(","))
        training.write_text(
            f"name: partitions\nmodels: [{models}]\nprofile: {options.profile}\nfolds: {options.folds}\n"
        )
        bars = Bars()
        if options.data:
            _whole_and_cut(bars, folder, training, options.data, options.parts, options.by)
        else:
            _one_and_many(bars, folder, training, options.size)
        return ended(bars, options.json)


def _one_and_many(bars: Bars, folder: Path, training: Path, size: float) -> None:
    """A run of one partition's size, and one of so many partitions."""
    series = STORES * FAMILIES
    one_seconds, one_peak = _run(folder / "1", _raw(folder / "1", 1), training, [])
    cut = ["--partition", str(series)]
    seconds, peak = _run(folder / f"{size:g}", _raw(folder / f"{size:g}", size), training, cut)
    many = round(STORES * size) * FAMILIES
    bars.told("one panel", one_seconds / series * 1e3, "ms/series")
    bars.told("  its memory", one_peak / GIB, "GiB")
    here = f"{size:g} times the panel, in partitions of its size"
    bars.quicker(here, seconds / many * 1e3, "ms/series", "one panel", one_seconds / series * 1e3, 1 / FLAT)
    bars.quicker("  its memory", peak / GIB, "GiB", "one panel", one_peak / GIB, 1 / FLAT)


def _raw(folder: Path, size: float) -> tuple[str, str]:
    """The data set config and the folder of synthetic raw files of a size, written once."""
    config = folder / "raw" / f"{NAME}.yaml"
    if not config.exists():
        write_raw(folder / "raw", size)
    return str(config), str(config.parent)


def _whole_and_cut(bars: Bars, folder: Path, training: Path, data: str, parts: int, by: str) -> None:
    """Store Sales, whole and in partitions."""
    config = str(config_folder("datasets") / "store_sales.yaml")
    _run(folder / "whole", (config, data), training, [])
    series, home = str(-(-STORES * FAMILIES // parts)), folder / f"cut by {by}"
    _run(home, (config, data), training, ["--partition", series, "--partition-by", by])
    whole = _scores(folder / "whole", "evaluate")
    cut = _scores(home, "partitions_report")
    for (model, cutoff), rmsle in whole.items():
        bars.told(f"{model} after {cutoff}, in {parts} partitions by {by}", cut[model, cutoff], "RMSLE")
        bars.told("  whole", rmsle, "RMSLE")


def _scores(home: Path, stage: str) -> dict[tuple[str, str], float]:
    """RMSLE by model and cutoff."""
    (path,) = (home / "home" / "datasets" / stage).glob(f"*/{SCORES}")
    frame = pd.DataFrame(json.loads(path.read_text()))
    return {(row.model, row.cutoff): row.rmsle for row in frame.itertuples()}


def _run(folder: Path, of: tuple[str, str], training: Path, more: Sequence[str]) -> tuple[float, int]:
    """A run in a home of its own, of which a partition may be refused: its seconds and bytes."""
    given = ("--dataset", of[0], "--data", of[1], "--profile", str(training), *more)
    return storecast_run(given, folder / "home", good=(0, 3))


if __name__ == "__main__":
    raise SystemExit(main())
