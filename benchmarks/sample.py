"""What the benchmarks share: a sample of series, its last horizon held back; a peer's rows; the clock."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.bars import Bars
from storecast.backtest import cv_rows
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.ingest import ingest
from storecast.metrics import squared_log_error
from storecast.models.base import QUANTILES, Forecast
from storecast.panel import Floats, Panel
from storecast.panel_io import read_panel
from storecast.synthetic import make_panel

Result = TypeVar("Result")
RECENT = 28


@dataclass(frozen=True)
class Case:
    """A panel as it was known before its last horizon, and what came then.

    Attributes:
        past: history up to the cutoff, and the known future after it.
        actual: (n, H) sales after the cutoff.
    """

    past: Panel
    actual: Floats

    def select(self, count: int) -> Case:
        """The first series."""
        return Case(self.past.select(slice(0, count)), self.actual[:count])

    def rmsle(self, point: Floats) -> float:
        """Pooled RMSLE of forecasts (n, H)."""
        errors = squared_log_error(self.actual, point)
        return float(np.sqrt(np.nanmean(errors)))


def command(name: str, doc: str | None, series: int) -> argparse.ArgumentParser:
    """The options that these benchmarks share; `series` is how many they take by default."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="", help="folder of the Store Sales files, or of an ingested panel")
    parser.add_argument("--series", type=int, default=series, help=f"series of the sample ({series})")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    return parser


def whole_panel(data: str, work: Path, stores: int = 25, days: int = 1_200) -> Panel:
    """The panel of raw Store Sales files or of an ingested folder; "" makes a seeded synthetic one."""
    if not data:
        return make_panel(n_stores=stores, n_families=8, n_days=days)
    if (Path(data) / "panel.json").exists():
        return read_panel(Path(data))
    config = load_dataset_config(config_file("store_sales", "datasets"))
    work.mkdir(parents=True, exist_ok=True)
    return ingest(config, data, work).panel


def case(panel: Panel, series: int, seed: int = 7) -> Case:
    """A random sample of the series that still sell, at the cutoff one horizon before the panel's."""
    horizon = panel.horizon
    past = panel.at(panel.dates[panel.n_history - 1 - horizon], horizon)
    sells = (np.nan_to_num(past.history[:, -RECENT:]) > 0).any(axis=1)
    rows = np.flatnonzero(sells)
    if len(rows) < series:
        sys.exit(f"the panel has {len(rows)} series that sell, {series} are asked for: --series {len(rows)}")
    chosen = np.random.default_rng(seed).choice(rows, series, replace=False)
    actual = panel.actuals(past.cutoff, horizon)
    return Case(past.select(chosen), actual[chosen])


def peer_rows(
    panel: Panel, model: str, cutoff: pd.Timestamp, point: Floats, quantiles: Floats | None = None
) -> pd.DataFrame:
    """A peer's forecasts (n, H) and quantiles (n, H, Q), or points alone, as rows of the cv table."""
    if quantiles is None:
        quantiles = np.repeat(point[:, :, None], len(QUANTILES), axis=2)
    dates = panel.at(cutoff, panel.horizon).future_dates
    return cv_rows(panel, model, cutoff, Forecast(panel.ids, dates, point, quantiles).to_frame())


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What the work gives, and its wall seconds on one thread of linear algebra."""
    with threadpool_limits(1):
        began = time.perf_counter()
        result = work()
        return result, time.perf_counter() - began


def ended(bars: Bars, to: str) -> int:
    """Keep the lines where asked to; the exit code."""
    bars.save(to)
    return 0 if bars.reached else 1
