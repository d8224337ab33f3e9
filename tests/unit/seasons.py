"""Sales with a season of the year, and how well a model of single series follows it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from storecast.models.base import FitContext, Forecaster
from storecast.panel import Floats, Panel


def noisy(expected: Floats, dates: pd.DatetimeIndex, ahead: int, rng: np.random.Generator) -> Panel:
    """Sales around exp(expected), (n, T), of which the last `ahead` dates are to come."""
    y = np.round(np.exp(expected + rng.normal(0, 0.05, expected.shape)))
    y[:, -ahead:] = np.nan
    ids = np.array([f"s{i}" for i in range(len(y))], dtype=object)
    static = pd.DataFrame({"series": ids}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids, dates, y, static, str(dates.freqstr), dates[-ahead - 1])


def error_of_season(model: Forecaster, panel: Panel, expected: Floats) -> float:
    """RMSE of a model's forecast, fitted here, as a share of how much `expected`, (n, H), varies."""
    model.fit(panel, FitContext())
    error = np.log1p(model.forecast(panel).point) - expected
    spread = expected - expected.mean(axis=1, keepdims=True)
    return float(np.sqrt((error**2).mean()) / np.sqrt((spread**2).mean()))
