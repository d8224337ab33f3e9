"""The calendar as numbers: Fourier terms, paydays, and holidays by the place they hold for."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from storecast.panel import Floats, Panel

EVENT_KINDS = ("holiday", "bridge", "additional", "event", "workday")
"""Kinds of events: day off, bridge day, days around a holiday, one-off event, a working weekend."""

DAYS_PER_YEAR = 365.25


def fourier(dates: pd.DatetimeIndex, period_days: float, order: int) -> Floats:
    """(T, 2·order) sine and cosine terms of a season of `period_days`, on an absolute time origin."""
    days = (dates - pd.Timestamp("2000-01-03")).days.to_numpy(dtype=np.float64)
    angles = 2 * np.pi * np.outer(days / period_days, np.arange(1, order + 1))
    return np.column_stack([np.sin(angles), np.cos(angles)]) if order else np.empty((len(dates), 0))


def payday_distance(dates: pd.DatetimeIndex) -> tuple[Floats, Floats]:
    """Days since and days until the nearest payday (the 15th and the last day of each month), (T,) each."""
    day = dates.day.to_numpy(dtype=np.float64)
    last = dates.days_in_month.to_numpy(dtype=np.float64)
    since = np.where(day == last, 0.0, np.where(day >= 15, day - 15, day))
    until = np.where(day <= 15, 15 - day, last - day)
    return since, until


def series_of_event(panel: Panel, column: str, value: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(n,) which series an event with that static column and value holds for; "" means all."""
    if column == "":
        return np.ones(panel.n_series, dtype=bool)
    return (panel.static[column] == value).to_numpy()


def event_days(panel: Panel, kinds: Collection[str] | None = None, *, local: bool | None = None) -> Floats:
    """(n, T) 1 on the days of events that hold for the series, 0 elsewhere.

    Args:
        panel: the panel whose axes are used; of weeks or months an event marks the one that holds it.
        kinds: only these kinds; None: all but "workday".
        local: True: only events bound to a static value (a city); False: only those for all; None: both.
    """
    out = np.zeros(panel.y.shape)
    wanted = set(EVENT_KINDS) - {"workday"} if kinds is None else set(kinds)
    events = panel.events[panel.events["kind"].isin(wanted)]
    if local is not None:
        events = events[(events["column"] != "") == local]
    cols = event_positions(panel, pd.DatetimeIndex(events["ds"]))
    for col, column, value in zip(cols, events["column"], events["value"], strict=True):
        if col >= 0:
            out[series_of_event(panel, column, value), col] = 1.0
    return out


def event_positions(panel: Panel, ds: pd.DatetimeIndex) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """(len(ds),) column of the period on the panel's axis that holds each day, -1 outside.

    A period is known by its last day, but a month of frequency "MS" by its first.
    """
    if panel.frequency.daily:
        return panel.dates.get_indexer(ds)
    if panel.freq == "MS":
        cols = panel.dates.searchsorted(ds, side="right") - 1
        return np.where(ds < panel.dates[-1] + panel.offset, cols, -1)
    cols = panel.dates.searchsorted(ds, side="left")
    inside = (cols < len(panel.dates)) & (ds > panel.dates[0] - panel.offset)
    return np.where(inside, cols, -1)
