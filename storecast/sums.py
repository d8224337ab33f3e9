"""Intervals of a sum of series, from how the sum itself was missed in the backtest.

The quantiles of series do not add up to quantiles of their sum. Split conformal prediction (Vovk et al. 2005)
on the sum's own absolute log ratios gives an interval that holds for the sum.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from storecast.metrics import check_columns
from storecast.panel import Floats

LEVELS = (0.8, 0.95)


def sum_intervals(
    backtest: pd.DataFrame, forecast: pd.Series, levels: tuple[float, ...] = LEVELS
) -> pd.DataFrame:
    """Lower and upper bounds of a sum of series on each date.

    Args:
        backtest: `cutoff, ds, y, yhat` of the very series that are summed, one model, any number of folds.
            Dates on which a series was not observed leave it out of both sums.
        forecast: the sum's forecast by date, in units of sales.
        levels: of the intervals; one that the backtest is too short for is left out.

    Returns:
        Frame by date with `lower_80, upper_80, ...`.

    Raises:
        DataError: the backtest lacks a column.
    """
    check_columns(backtest, ["cutoff", "ds", "y", "yhat"])
    known = backtest[backtest["y"].notna()]
    sums = known.groupby(["cutoff", "ds"], observed=True)[["y", "yhat"]].sum()
    misses = np.sort(np.abs(np.log1p(sums["y"].to_numpy()) - np.log1p(sums["yhat"].clip(lower=0).to_numpy())))
    bounds: dict[str, pd.Series] = {}
    for level in levels:
        rank = math.ceil((len(misses) + 1) * level)
        if rank > len(misses):
            continue
        factor = math.exp(misses[rank - 1])
        name = round(100 * level)
        bounds[f"lower_{name}"] = ((1 + forecast) / factor - 1).clip(lower=0)
        bounds[f"upper_{name}"] = (1 + forecast) * factor - 1
    return pd.DataFrame(bounds, index=forecast.index)


def miss_factors(y: Floats, yhat: Floats, levels: tuple[float, ...] = LEVELS) -> Floats:
    """By what factors sums may be missed, each from its own misses.

    Args:
        y: (a, T) of each sum what happened, NaN where that is not known.
        yhat: (a, T) what was forecast.
        levels: of the intervals.

    Returns:
        (a, levels) f of the interval (1 + forecast) / f - 1 to (1 + forecast) · f - 1. A sum whose own misses
        are too few gets the factor of all sums together; NaN where these are too few as well.
    """
    misses = np.sort(np.abs(np.log1p(y) - np.log1p(np.maximum(yhat, 0.0))), axis=1)
    count = np.isfinite(misses).sum(axis=1)
    every = np.sort(misses[np.isfinite(misses)])
    out = np.full((len(y), len(levels)), np.nan)
    for k, level in enumerate(levels):
        rank = np.ceil((count + 1) * level).astype(np.int64)
        enough = (rank <= count) & (count > 0)
        out[enough, k] = misses[np.flatnonzero(enough), rank[enough] - 1]
        common = math.ceil((len(every) + 1) * level)
        if common <= len(every):
            out[~enough, k] = every[common - 1]
    return np.asarray(np.exp(out))
