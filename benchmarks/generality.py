"""Other panels, weekly and daily, by a data set config alone: MASE beside seasonal naive and AutoETS.

    python -m benchmarks.generality                        all panels of `benchmarks/generality_panels.py`
    python -m benchmarks.generality --panels co2,short     some of them

Nothing is tuned: each panel goes through the stages ingest, features, train and evaluate with the same
training config (`quick`'s models on 3 folds). What is scored is the blend, whose weights come from earlier
folds. AutoETS is statsforecast's, with its defaults, one series after the other. MASE is pooled over the
folds' rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.bars import Bars
from benchmarks.generality_panels import SOURCES, Source, write
from benchmarks.sample import ended, peer_rows
from components.stage import open_panel, open_store
from pipelines.executor import Argument, Known, Made, call_stage, resolved
from pipelines.steps import TrainingRun
from storecast.backtest import fold_cutoffs
from storecast.metrics import naive_scale, score
from storecast.panel import Floats, Panel
from storecast.store import parquet

FOLDS = 3
PEER = "AutoETS"
TRAINING = f"name: generality\nmodels: [naive, arima, prophet, lstm, gbm]\nprofile: quick\nfolds: {FOLDS}\n"


class Directly:
    """Runs each stage here and now, without Prefect."""

    fans_out = False

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        """Run the stage."""
        del gpu, after
        return Known(call_stage(stage, label, resolved(arguments)))


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--panels", default=",".join(SOURCES), help="names, by commas")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    bars = Bars()
    for name in options.panels.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            _try(bars, name, SOURCES[name], Path(temporary))
    return ended(bars, options.json)


def _try(bars: Bars, name: str, source: Source, work: Path) -> None:
    began = time.perf_counter()
    config, workspace = write(name, source, work / "raw"), str(work / "store")
    training = work / "training.yaml"
    training.write_text(TRAINING)
    run = TrainingRun(Directly(), str(config), str(work / "raw"), str(training), workspace)
    made = call_stage("ingest", "ingest", _ingested(config, work, workspace))
    panel = open_panel(open_store(workspace), made)
    cutoffs = fold_cutoffs(panel, FOLDS)
    fits = run.fit_all(made, [str(cutoff.date()) for cutoff in cutoffs], panel.n_series)
    told = {
        "panel": made,
        "fit": [*fits.folds, *fits.final],
        "training": str(training),
        "workspace": workspace,
    }
    evaluation = Path(open_store(workspace).path(call_stage("evaluate", "evaluate", resolved(told))))
    cv = parquet.read_frame(evaluation / "cv.parquet")
    took = time.perf_counter() - began
    peers = [_peer_rows(panel, cutoff, source.season) for cutoff in cutoffs]
    cv = pd.concat([cv, *peers], ignore_index=True)
    _tell(bars, f"{name} ({source.about})", cv, naive_scale(panel.at(cutoffs[0], 0)))
    bars.told("  all models on 3 folds", took, "s")


def _ingested(config: Path, work: Path, workspace: str) -> dict[str, str]:
    return {"dataset": str(config), "data": str(work / "raw"), "workspace": workspace}


def _tell(bars: Bars, label: str, cv: pd.DataFrame, scale: pd.Series) -> None:
    found = score(cv, ["model"], scale).set_index("model")["mase"]
    blend = float(found["blend"])
    bars.quicker(f"{label}: MASE", blend, "", "seasonal naive", float(found["naive"]), 1)
    bars.quicker("  its MASE", blend, "", PEER, float(found[PEER]), 1)
    for model in found.index.difference(["blend", "naive", PEER]):
        bars.told(f"  {model} alone", float(found[model]))


def _peer_rows(panel: Panel, cutoff: pd.Timestamp, season: int) -> pd.DataFrame:
    """The peer's forecasts as rows of the cv table; it gives means, so they stand for every quantile."""
    seen = panel.at(cutoff, panel.horizon)
    points = np.array([_ets(y, start, season, panel.horizon) for y, start in zip(*_known(seen), strict=True)])
    return peer_rows(panel, PEER, cutoff, np.maximum(points, 0.0))


def _known(panel: Panel) -> tuple[Floats, np.ndarray]:
    """Histories and where each begins: its first observed date."""
    seen = np.isfinite(panel.history)
    return panel.history, np.where(seen.any(axis=1), seen.argmax(axis=1), panel.n_history)


def _ets(y: Floats, start: int, season: int, horizon: int) -> Floats:
    """(H,) AutoETS's mean; gaps are filled by the value before. A series too short for it keeps its mean."""
    from statsforecast.models import AutoETS

    known = pd.Series(y[start:]).ffill().to_numpy()
    if len(known) < 2:
        return np.full(horizon, known.mean() if len(known) else 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(AutoETS(season_length=season).forecast(known, horizon)["mean"])


if __name__ == "__main__":
    raise SystemExit(main())
