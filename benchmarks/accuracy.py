"""The accuracy of a run that has been made, beside its bars and peers: models, intervals, sums by level.

    PYTHONPATH=.venv/peers .venv/bin/python -m benchmarks.accuracy --home HOME --profile best

Nothing is fitted but the peers, on the run's own folds: a LightGBM by mlforecast, and the seasonal naive with
conformal intervals by statsforecast. `python -m benchmarks` makes such a run and ends with this.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import accuracy_peers as peers
from benchmarks.bars import Bars
from benchmarks.sample import ended
from storecast.blend import BLEND
from storecast.metrics import INTERVALS, naive_scale, rmsle, score
from storecast.panel import Panel
from storecast.panel_io import read_panel
from storecast.segments import VOLUME, VOLUME_CLASSES
from storecast.store import parquet
from storecast.training_config import NAIVE

LAST = {"arima": 0.46, "prophet": 0.50, "lstm": 0.42, "gbm": 0.395, "blend": 0.39}
"""Pooled RMSLE of the last fold that the main job is held to."""
BEST = {
    "gbm": (0.377, 0.382),
    "lstm": (0.390, 0.395),
    "arima": (0.415, 0.42),
    "prophet": (0.44, 0.45),
    "blend": (0.372, 0.377),
}
"""What the profile `best` is held to: the mean of four folds and the last one."""
POINTS = 0.02
"""How far from what it promises an interval may cover, of each volume class on the last fold."""
HALF = 2.0
"""How many times as wide the seasonal naive's conformal intervals are to be."""
DIGITS = 6
SUMS, COHERENT = "points", "mean"
"""Kinds of forecasts in levels.parquet: sums of the series' own, and what is coherent over all levels."""


def main() -> int:
    """Print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--home", required=True, help="home folder of the run")
    parser.add_argument(
        "--profile", default="full", help="its training config, which says what it is held to"
    )
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    bars = Bars()
    judge(bars, Path(options.home), options.profile)
    return ended(bars, options.json)


def judge(bars: Bars, home: Path, profile: str) -> None:
    """All figures of a home's newest evaluation."""
    evaluation = _newest(home / "datasets" / "evaluate")
    panel = read_panel(_newest(home / "datasets" / "ingest"))
    cv = parquet.read_frame(evaluation / "cv.parquet")
    cutoffs = sorted(cv["cutoff"].unique())
    lightgbm = pd.concat([peers.lightgbm(panel, cutoff) for cutoff in cutoffs])
    _models(bars, pd.concat([cv, lightgbm], ignore_index=True), profile)
    if len(cutoffs) > 1:
        volumes = parquet.read_frame(evaluation / "segments.parquet").set_index("unique_id")[VOLUME]
        naive = peers.conformal_naive(panel, cutoffs[-1])
        last = pd.concat(
            [cv[(cv["model"] == BLEND) & (cv["cutoff"] == cutoffs[-1])], naive], ignore_index=True
        )
        _intervals(bars, last.assign(**{VOLUME: last["unique_id"].map(volumes)}), panel.at(cutoffs[0], 0))
    _levels(bars, parquet.read_frame(evaluation / "levels.parquet"))


def _newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)


def _models(bars: Bars, cv: pd.DataFrame, profile: str) -> None:
    table = rmsle(cv, ["model", "cutoff"]).pivot(index="model", columns="cutoff", values="rmsle")
    table.columns = [cutoff.date() for cutoff in table.columns]
    print("\npooled RMSLE by fold (cutoff)")
    print(table.assign(mean=table.mean(axis=1)).sort_values("mean").round(4).to_string(), "\n")
    mean, last = table.mean(axis=1).to_dict(), table.iloc[:, -1].to_dict()
    held = profile == "best"
    for model in (name for name in BEST if name in table.index):
        if held:
            bars.most(f"{model} RMSLE, mean of {table.shape[1]} folds", mean[model], BEST[model][0])
        bars.most(f"{model} RMSLE, last fold", last[model], BEST[model][1] if held else LAST[model])
    for peer in (NAIVE, peers.LIGHTGBM):
        bars.told(f"{peer} RMSLE, last fold", last[peer])
        bars.quicker("blend RMSLE, mean of folds", mean[BLEND], "", peer, mean[peer], 1)
        bars.quicker("  last fold", last[BLEND], "", peer, last[peer], 1)


def _intervals(bars: Bars, cv: pd.DataFrame, before: Panel) -> None:
    """Coverage of each class on the last fold; widths and scores in units of each series' naive error.

    The interval score is the width and 2 / alpha for each unit by which an actual lies beyond it (Gneiting &
    Raftery 2007): what is narrow and does not cover gains nothing.

    Args:
        bars: to add to.
        cv: rows of the blend and of the peer on the last fold, with the volume class.
        before: the panel before the first fold, whose naive errors are the unit.
    """
    table = score(cv, ["model", VOLUME]).set_index(["model", VOLUME])
    for name in (name for name in VOLUME_CLASSES if (BLEND, name) in table.index):
        ours = table.loc[(BLEND, name)]
        for percent, _, _ in INTERVALS:
            covered, aim = float(ours[f"coverage_{percent}"]), percent / 100
            line = f"{percent} % interval, volume {name}, {int(ours['n']):,} rows"
            if name == VOLUME_CLASSES[0]:
                bars.told(line, covered, note="never sell, so surely covered or surely not")
            else:
                bars.within(line, covered, aim - POINTS, aim + POINTS)
    overall = score(cv, ["model"]).set_index("model")
    unit = cv["unique_id"].map(naive_scale(before)).to_numpy(dtype=np.float64)
    counts = np.isfinite(unit) & (unit > 0)
    for percent, low, high in INTERVALS:
        for who in (BLEND, peers.NAIVE):
            bars.told(f"{who} covers, {percent} %", float(overall.loc[who, f"coverage_{percent}"]))
        width = cv[high] - cv[low]
        beyond = (cv[low] - cv["y"]).clip(lower=0) + (cv["y"] - cv[high]).clip(lower=0)
        scores = width + 2 / (1 - percent / 100) * beyond
        for name, values, times in (("width", width, HALF), ("interval score", scores, 1.0)):
            means = (values[counts] / unit[counts]).groupby(cv.loc[counts, "model"]).mean()
            ours, theirs = float(means[BLEND]), float(means[peers.NAIVE])
            bars.quicker(f"mean scaled {name}, {percent} %", ours, "", peers.NAIVE, theirs, times)


def _levels(bars: Bars, levels: pd.DataFrame) -> None:
    """Each level's error over all folds, beside that of the sums of the series' forecasts."""
    table = levels[levels["cutoff"] == "all"].set_index(["level", "kind"])
    for level in table.index.get_level_values("level").unique():
        for metric in ("wape", "rmsle"):
            coherent, sums = (
                round(float(table.loc[(level, kind), metric]), DIGITS) for kind in (COHERENT, SUMS)
            )
            bars.quicker(f"{metric.upper()} by {level}", coherent, "", "sums", sums, 1)


if __name__ == "__main__":
    raise SystemExit(main())
