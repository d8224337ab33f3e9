"""Intervals of a sum of series, from how the sum itself was missed in the backtest.

The quantiles of series do not add up to quantiles of their sum. Split conformal prediction (Vovk et al. 2005)
on the sum's own absolute log ratios gives an interval that holds for the sum.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from storecast.metrics import check_columns

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
