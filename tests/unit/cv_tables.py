"""Cross-validation tables for tests: real forecasts of small synthetic panels, and made-up ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from storecast.blend import honest_folds
from storecast.metrics import CV_COLUMNS
from storecast.models.base import Forecast, forecast_from_log
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.segments import attach, segment_table
from storecast.synthetic import make_panel


def small_panel() -> Panel:
    """24 series, 420 days."""
    return make_panel(n_stores=4, n_families=6, n_days=420)


def weekday_mean(panel: Panel, weeks: int = 8) -> Forecast:
    """Same-weekday mean of the last weeks with its spread: a quick model that beats the seasonal naive."""
    logs = np.log1p(np.nan_to_num(panel.history[:, -7 * weeks :])).reshape(panel.n_series, weeks, 7)
    ahead = np.arange(panel.horizon) % 7
    return forecast_from_log(panel, logs.mean(axis=1)[:, ahead], logs.std(axis=1)[:, ahead])


def backtest(panel: Panel, folds: int = 3, horizon: int = 16) -> pd.DataFrame:
    """The cv table of the seasonal naive and two weekday means, with the segments attached."""
    naive = SeasonalNaive(NaiveConfig())
    cutoffs = [panel.cutoff - pd.Timedelta(days=horizon * k) for k in range(folds, 0, -1)]
    parts = []
    for cutoff in cutoffs:
        seen = panel.at(cutoff, horizon)
        for name, forecast in (
            ("naive", naive.forecast(seen)),
            ("weekday", weekday_mean(seen)),
            ("short", weekday_mean(seen, 3)),
        ):
            rows = forecast.to_frame().assign(model=name, cutoff=cutoff)
            rows["y"] = panel.actuals(cutoff, horizon).ravel()
            parts.append(rows[list(CV_COLUMNS)])
    return attach(pd.concat(parts, ignore_index=True), segment_table(panel, cutoffs[0]))


def honest_blend(cv: pd.DataFrame, peers: Sequence[str] = ()) -> pd.DataFrame:
    """The blend's rows of all folds, each weighted by what the folds before it show."""
    return pd.concat([blend for blend, _ in honest_folds(cv, peers=peers)], ignore_index=True)


def table(
    y: np.ndarray, yhat: np.ndarray, model: str = "m", fold: int = 0, **columns: object
) -> pd.DataFrame:
    """A cv table with a series per row; quantiles are 0.5, 0.8, 1, 1.25 and 2 times the point."""
    y, yhat = np.asarray(y, dtype=float), np.asarray(yhat, dtype=float)
    cutoff = pd.Timestamp("2023-01-01") + pd.Timedelta(days=16 * fold)
    return pd.DataFrame(
        {
            "unique_id": [f"s{i}" for i in range(len(y))],
            "ds": cutoff + pd.Timedelta(days=1),
            "cutoff": cutoff,
            "h": 1,
            "model": model,
            "y": y,
            "yhat": yhat,
            "q0.025": yhat * 0.5,
            "q0.1": yhat * 0.8,
            "q0.5": yhat,
            "q0.9": yhat * 1.25,
            "q0.975": yhat * 2.0,
            **columns,
        }
    )
