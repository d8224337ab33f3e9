"""What is known of every day in advance: the calendar, paydays, holidays and the known-future covariates."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.calendar import EVENT_KINDS, event_days, payday_distance
from storecast.panel import Floats, Panel

Small: TypeAlias = NDArray[np.int8]

FAR = 15
"""Holidays further away than this many dates count as this far."""


def known_future(panel: Panel) -> tuple[list[str], NDArray[np.float32]]:
    """Everything known in advance, for each series and date: input for any global model.

    Returns:
        The k names and an array (n, T, k): the calendar, the holidays that hold for the series, and
        log(1+x) of the known-future covariates (negative values: -log(1-x)). No NaN.
    """
    calendar, holidays = calendar_features(panel), holiday_features(panel)
    covariates = {name: signed_log(values) for name, values in panel.known.items()}
    names = [*calendar, *holidays, *covariates]
    out = np.empty((*panel.y.shape, len(names)), dtype=np.float32)
    columns = [*calendar.values(), *holidays.values(), *covariates.values()]
    for i, values in enumerate(columns):
        out[:, :, i] = values
    return names, out


def signed_log(values: Floats) -> Floats:
    """sign(x) · log(1+|x|): a log scale that takes any sign."""
    logs: Floats = np.sign(values) * np.log1p(np.abs(values))
    return logs


def calendar_features(panel: Panel) -> dict[str, Floats]:
    """The date itself, (T,) each: weekday, day, week, month, season of the year, days since and to payday.

    A weekly date stands for the week that ends there, a monthly one for its month; their weekday is left out.
    """
    dates = panel.dates
    since, until = payday_distance(dates)
    angle = 2 * np.pi * dates.day_of_year.to_numpy(dtype=np.float64) / 365.25
    columns = {
        "day": dates.day.to_numpy(dtype=np.float64),
        "month": dates.month.to_numpy(dtype=np.float64),
        "day_of_year": dates.day_of_year.to_numpy(dtype=np.float64),
        "week_of_month": (dates.day.to_numpy(dtype=np.float64) - 1) // 7,
        "year_sin": np.sin(angle),
        "year_cos": np.cos(angle),
        "payday_since": since,
        "payday_until": until,
    }
    if panel.frequency.daily:
        columns["weekday"] = dates.day_of_week.to_numpy(dtype=np.float64)
    return columns


def holiday_features(panel: Panel) -> dict[str, Small]:
    """Holidays that hold for the series, (n, T) each, small whole numbers.

    National (for all) and local ones: whether the date is one, dates since the last and until the next,
    at most `FAR`; and one column for each kind of event.
    """
    wide = _widened(panel, FAR)
    inside = slice(FAR, FAR + len(panel.dates))
    columns: dict[str, Small] = {}
    for scope, local in (("national", False), ("local", True)):
        days = event_days(wide, local=local) > 0
        columns[f"holiday_{scope}"] = days[:, inside].astype(np.int8)
        columns[f"holiday_{scope}_since"] = _dates_since(days)[:, inside]
        columns[f"holiday_{scope}_until"] = _dates_since(days[:, ::-1])[:, ::-1][:, inside]
    for kind in EVENT_KINDS:
        columns[f"event_{kind}"] = event_days(panel, [kind]).astype(np.int8)
    return columns


def _widened(panel: Panel, by: int) -> Panel:
    """An empty panel with `by` more dates at both ends, so that holidays beyond the axis are seen."""
    first, last = panel.dates[0] - by * panel.offset, panel.dates[-1] + by * panel.offset
    dates = pd.date_range(first, last, freq=panel.freq)
    return replace(panel, dates=dates, y=np.zeros((panel.n_series, len(dates))), known={}, past={})


def _dates_since(days: NDArray[np.bool_]) -> Small:
    """(n, T) dates since the last True, 0 on it, at most FAR."""
    position = np.arange(days.shape[1], dtype=np.int32)
    last = np.maximum.accumulate(np.where(days, position, np.int32(-FAR)), axis=1)
    return np.minimum(position - last, FAR).astype(np.int8)
