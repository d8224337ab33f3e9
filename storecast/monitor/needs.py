"""Why a check has no figure yet, and what is needed for one: sentences for people, with the numbers."""

from __future__ import annotations

from math import ceil

import pandas as pd

from storecast.monitor.config import DriftLimits, ScoreLimits
from storecast.panel import Panel

HAND_IN = "hand them in (storecast actuals add)"


def scores_need(served: pd.DataFrame, panel: Panel, rows: int, limits: ScoreLimits) -> str:
    """Why the error of what was served is not known.

    Args:
        served: see `served_rows`, with the dates to come.
        panel: the panel with the actuals.
        rows: rows of the longest window that have both forecast and actual.
        limits: how many are needed.
    """
    if served.empty:
        return "Nothing was served, so there is nothing to judge: a release is needed (storecast run)."
    first = pd.Timestamp(served["ds"].min())
    if first > panel.cutoff:
        return (
            f"What is served begins on {first.date()}, and the last actuals are of {panel.cutoff.date()}: "
            f"actuals from {first.date()} on are needed; {HAND_IN}."
        )
    window = max(limits.windows_days)
    most = panel.n_series * panel.frequency.dates(window)
    said = f"{rows} rows of what was served have actuals, {limits.min_rows} are needed"
    if most < limits.min_rows:
        return (
            f"{said}, and {panel.n_series} series have at most {most} in {window} days: "
            "lower scores.min_rows in the monitoring config."
        )
    more = ceil((limits.min_rows - rows) / panel.n_series) * panel.frequency.days
    return f"{said}: about {more} more days of actuals; {HAND_IN}."


def drift_needs(name: str, dates: int, limits: DriftLimits, panel: Panel) -> str:
    """Why no move can be told from what is usual.

    Args:
        name: "error_drift" or "input_drift".
        dates: dates of which there is something to compare.
        limits: windows, and the days before them that say what is usual.
        panel: the panel, for the step of its dates.
    """
    dates_in = panel.frequency.dates
    before = dates_in(limits.before_days)
    if name == "error_drift":  # a series' level and how far it varies: each of half the days before
        need = 2 * dates_in(max(limits.windows_days)) + 2 * (before // 2) - 2
        what = "what was served, with actuals"
    else:  # a segment's level, then the moves from it
        window = dates_in(min(limits.windows_days))
        need = 2 * window + before // 2 + before + max(1, window // 2) - 2
        what = "sales"
    return f"Moves are told after about {need} dates of {what}; there are {dates}."
