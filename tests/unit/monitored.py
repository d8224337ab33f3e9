"""A small panel whose forecasts are as good as they can be, and ways to spoil what arrives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from storecast.models.base import QUANTILES, quantile_column
from storecast.monitor.served import Activation, served_rows
from storecast.panel import Panel, no_events

DAYS, STORES, FAMILIES, EVERY = 800, 4, 12, 28
START = pd.Timestamp("2021-10-04")
Z = (-1.96, -1.2816, 0.0, 1.2816, 1.96)
SD = 0.12


@cache
def truth() -> np.ndarray:
    """(n, T) the mean of log(1 + sales): a level for each series, a week, and a busy December."""
    rng = np.random.default_rng(1)
    dates = pd.date_range(START, periods=DAYS + EVERY)
    level = rng.uniform(3.0, 5.0, STORES * FAMILIES)[:, None]
    week = 0.3 * np.sin(2 * np.pi * dates.day_of_week.to_numpy() / 7)
    december = 0.5 * (dates.month == 12)
    return np.asarray(level + week + december)


@cache
def panel() -> Panel:
    """48 series of 800 days with promotions one day in ten."""
    rng = np.random.default_rng(2)
    dates = pd.date_range(START, periods=DAYS + EVERY, unit="ns")
    logs = truth() + SD * rng.standard_normal((STORES * FAMILIES, DAYS + EVERY))
    y = np.round(np.expm1(logs), 3)
    y[:, DAYS:] = np.nan
    keys = [(str(s + 1), f"F{f}") for s in range(STORES) for f in range(FAMILIES)]
    ids = np.array(["|".join(key) for key in keys], dtype=object)
    order = np.argsort(ids)
    static = pd.DataFrame(keys, columns=["store", "family"], index=pd.Index(ids, name="unique_id"))
    return Panel(
        ids=ids[order],
        dates=pd.DatetimeIndex(dates),
        y=y,
        static=static.iloc[order],
        freq="D",
        cutoff=dates[DAYS - 1],
        known={"promo": (rng.random(y.shape) < 0.1) * 3.0},
        events=no_events(),
    )


def activations(of: Panel, backtest: pd.DataFrame | None = None) -> list[Activation]:
    """A release every four weeks, which forecasts the truth."""
    return [_release(of, first, backtest) for first in range(60, of.n_history, EVERY)]


def _release(of: Panel, first: int, backtest: pd.DataFrame | None) -> Activation:
    mean = truth()[:, first : first + EVERY]
    days = of.dates[first : first + EVERY]
    n, h = len(of.ids), len(days)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(of.ids, h),
            "ds": np.tile(days.to_numpy(), n),
            "h": np.tile(np.arange(1, h + 1), n),
            "yhat": np.expm1(mean[:, :h]).ravel(),
            **{
                quantile_column(q): np.expm1(mean[:, :h] + SD * z).ravel()
                for q, z in zip(QUANTILES, Z, strict=True)
            },
        }
    )
    return Activation(f"release-{first}", days[0], frame, backtest)


def served(of: Panel) -> pd.DataFrame:
    """What was served, beside what the panel says happened."""
    return served_rows(activations(of), of)


def spoiled(factor: np.ndarray | float, days: int, rows: slice = slice(None)) -> Panel:
    """The panel whose last days' sales are multiplied for some series."""
    whole = panel()
    y = whole.y.copy()
    y[rows, whole.n_history - days : whole.n_history] *= factor
    return replace(whole, y=y)
