"""Days on which a series never sells, seen in its own history: 25 December, Sundays, a shop not open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats, Panel

NEIGHBOURS = 28
"""Dates before and after a day that say how likely a sale was on it."""

CHANCE = 0.025
"""Zeros on all days of a kind count as a closure if ordinary days would do that more rarely."""


@dataclass(frozen=True, eq=False)
class Closures:
    """Days on which series never sell.

    Attributes:
        days: (n, T) these days, past and future.
        by: (n,) whether a series sells nothing where a known covariate is 0, by the covariate's name.
    """

    days: NDArray[np.bool_]
    by: Mapping[str, NDArray[np.bool_]]


def closures(panel: Panel) -> Closures:
    """The days of a kind on which a series has not sold in all of its history.

    Kinds are the days of the year and of the week, in daily panels, and those on which a known covariate
    (such as whether a shop is open) is 0. The rule is a test: the chance of that many zeros, given how often
    the series sold on the dates around each, must be below 2.5 %. So one year is enough for a series that
    sells every day, and a series that rarely sells is never called closed. Where a covariate tells, the
    calendar does not: a shop may be planned to open on a Sunday.
    """
    chance = _LogChance.of(panel)
    by_calendar, by_covariate = np.zeros((2, *panel.y.shape), dtype=bool)
    for kinds in _calendar_kinds(panel):
        by_calendar |= chance.closed_by_kind(kinds[: panel.n_history], kinds.max() + 1)[:, kinds]
    by = {name: chance.closed_on(values[:, : panel.n_history] == 0) for name, values in panel.known.items()}
    for name, told in by.items():
        by_covariate |= told[:, None] & (panel.known[name] == 0)
    days = np.where(by_covariate.any(axis=1, keepdims=True), by_covariate, by_calendar)
    return Closures(days, by)


def _calendar_kinds(panel: Panel) -> Iterator[NDArray[np.int64]]:
    """(T,) what kind of day each date is, once by the year and once by the week."""
    if panel.frequency.daily:
        yield (panel.dates.month * 32 + panel.dates.day).to_numpy(dtype=np.int64)
        yield panel.dates.day_of_week.to_numpy(dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _LogChance:
    """How likely each date of the history was to be without a sale.

    Attributes:
        of_zero: (n, H) log chance that a series sells nothing on a date; infinite where it has sold, and 0
            on a date that was not observed, which tells nothing.
    """

    of_zero: Floats

    @classmethod
    def of(cls, panel: Panel) -> _LogChance:
        on_sale = (np.arange(panel.n_history) >= panel.first_sale[:, None]) & np.isfinite(panel.history)
        sold = panel.history > 0
        chance = np.where(on_sale, np.log(_share_of_zeros(on_sale, sold)), 0.0)
        return cls(np.where(sold, np.inf, chance))

    def closed_on(self, days: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,) which series sold on none of these days (n, H), and not by chance."""
        return np.asarray(np.where(days, self.of_zero, 0.0).sum(axis=1) < np.log(CHANCE))

    def closed_by_kind(self, kinds: NDArray[np.int64], n_kinds: int) -> NDArray[np.bool_]:
        """(n, K) which series sold on none of the days of each kind (H,), and not by chance."""
        order = np.argsort(kinds, kind="stable")
        found, starts = np.unique(kinds[order], return_index=True)
        closed = np.zeros((len(self.of_zero), n_kinds), dtype=bool)
        closed[:, found] = np.add.reduceat(self.of_zero[:, order], starts, axis=1) < np.log(CHANCE)
        return closed


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
