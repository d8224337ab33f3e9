"""Days of the year on which a series never sells, such as 25 December: seen in its own history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats, Panel

NEIGHBOURS = 28
"""Dates before and after a day that say how likely a sale was on it."""

CHANCE = 0.025
"""Zeros on the same day of every year count as a closure if ordinary days would do that more rarely."""


def closed_days(panel: Panel) -> NDArray[np.bool_]:
    """(n, T) days, past and future, whose day of the year sold nothing in any year of the series' history.

    The rule is a test: the chance of that many zeros, given how often the series sold on the dates around
    each, must be below 2.5 %. So one year is enough for a series that sells every day, and a series that
    rarely sells is never called closed. Weekly panels have no such days.
    """
    out = np.zeros(panel.y.shape, dtype=bool)
    if panel.freq != "D":
        return out
    history = panel.n_history
    on_sale = np.arange(history) >= panel.first_sale[:, None]
    sold = np.nan_to_num(panel.history) > 0
    log_chance = np.where(on_sale, np.log(_share_of_zeros(on_sale, sold)), 0.0)
    day_of_year = (panel.dates.month * 32 + panel.dates.day).to_numpy()
    for day in np.unique(day_of_year):
        here = np.flatnonzero(day_of_year == day)
        past = here[here < history]
        never = ~sold[:, past].any(axis=1) & (log_chance[:, past].sum(axis=1) < np.log(CHANCE))
        out[np.ix_(never, here)] = True
    return out


def _share_of_zeros(on_sale: NDArray[np.bool_], sold: NDArray[np.bool_]) -> Floats:
    """(n, T) share of dates without a sale around each date, itself left out; never quite 0 or 1."""
    dates = _around(on_sale.astype(np.float64))
    zeros = dates - _around(sold.astype(np.float64))
    return np.asarray((zeros + 0.1) / (dates + 0.2))


def _around(values: Floats) -> Floats:
    """(n, T) sums over the neighbours of each date."""
    sums = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
    t = np.arange(values.shape[1])
    last, first = np.minimum(t + NEIGHBOURS + 1, len(t)), np.maximum(t - NEIGHBOURS, 0)
    return np.asarray(sums[:, last] - sums[:, first] - values)
