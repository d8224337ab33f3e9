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
    window, step = max(limits.windows_days), 1 if panel.freq == "D" else 7
    most = panel.n_series * max(1, window // step)
    said = f"{rows} rows of what was served have actuals, {limits.min_rows} are needed"
    if most < limits.min_rows:
        return (
            f"{said}, and {panel.n_series} series have at most {most} in {window} days: "
            "lower scores.min_rows in the monitoring config."
        )
    more = ceil((limits.min_rows - rows) / panel.n_series) * step
    return f"{said}: about {more} more days of actuals; {HAND_IN}."


def drift_needs(name: str, dates: int, limits: DriftLimits, panel: Panel) -> str:
    """Why no move can be told from what is usual.

    Args:
        name: "error_drift" or "input_drift".
        dates: dates of which there is something to compare.
        limits: windows, and the days before them that say what is usual.
        panel: the panel, for the step of its dates.
    """
    step = 1 if panel.freq == "D" else 7
    before = limits.before_days // step
    if name == "error_drift":  # a series' level and how far it varies: each of half the days before
        need = 2 * max(1, max(limits.windows_days) // step) + 2 * (before // 2) - 2
        what = "what was served, with actuals"
    else:  # a segment's level, then the moves from it
        window = max(1, min(limits.windows_days) // step)
        need = 2 * window + before // 2 + before + max(1, window // 2) - 2
        what = "sales"
    return f"Moves are told after about {need} dates of {what}; there are {dates}."
