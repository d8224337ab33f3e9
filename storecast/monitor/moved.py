"""The table of drift: every figure's moves by day, segment and window, with their p-values and limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from storecast.frequency import Frequency
from storecast.monitor.config import DriftLimits, MonitorConfig
from storecast.monitor.drift import YEAR_DAYS, Reference, corrected, moves, outlying, p_values
from storecast.monitor.health import ALL
from storecast.monitor.inputs import Groups, is_share, panel_figures, served_errors
from storecast.panel import Floats, Panel

DRIFT_COLUMNS = (
    *("ds", "figure", "column", "segment", "window_days"),
    *("move", "spread", "p", "adjusted", "limit", "breached"),
)
ERROR = "error"
APPEARS = 0.7
"""Move of a series' share of days with a covariate from which it counts as appeared or ended."""

ERROR_FLOOR, FIGURE_FLOOR = 0.1, 0.02
"""Smallest standard deviations of one series' mean error, and of the moves of a segment's figure."""


def drift_table(
    panel: Panel,
    served: pd.DataFrame,
    segments: pd.DataFrame,
    columns: list[str],
    config: MonitorConfig,
    days: int = 1,
) -> pd.DataFrame:
    """The drift of the last days of a panel's history.

    Each day is judged by what was known on it: later days change nothing.

    Args:
        panel: the panel with the actuals.
        served: see `served_rows`.
        segments: segments of each series by unique_id.
        columns: the segment columns to look at.
        config: limits.
        days: dates to judge, ending at the panel's cutoff.

    Returns:
        `DRIFT_COLUMNS`: one row per day, figure, decisive segment and window. `move` is in the figure's unit
        (log scale for errors and levels, a share else), `spread` the standard deviation of such moves in the
        year before, `adjusted` the p-value corrected for the number of tests of the day. Figures ending in
        "series" are the share of series that have moved each by itself; they have no p-value.
    """
    dates_in = panel.frequency.dates
    limits = config.drift
    need = dates_in(2 * YEAR_DAYS + 4 * limits.before_days + 4 * max(limits.windows_days)) + days
    since = max(0, panel.n_history - need)
    groups = Groups.of(segments.loc[list(panel.ids)], columns).decisive(config.decisive_share)
    figures = {ERROR: served_errors(served, panel, since), **panel_figures(panel, since)}
    means = {name: groups.mean(values) for name, values in figures.items()}
    dates = panel.dates[panel.n_history - days : panel.n_history]
    parts = []
    for window_days in limits.windows_days:
        reference = Reference(
            dates_in(window_days), dates_in(limits.before_days), panel.frequency.year, FIGURE_FLOOR
        )
        for name, mean in means.items():
            moved, spread = (part[-days:] for part in moves(mean, reference))
            p = p_values(moved, spread, reference)
            found = {"move": moved, "spread": spread, "p": p}
            parts.append(_long(dates, name, groups, window_days, found, _limit(limits, name)))
    table = pd.concat(parts, ignore_index=True)
    table["adjusted"] = table.groupby("ds")["p"].transform(lambda p: corrected(p.to_numpy()))
    table["breached"] = (table["move"].abs() >= table["limit"]) & (table["adjusted"] < limits.alpha)
    series = pd.DataFrame(
        list(_series_rows(figures, limits, panel.frequency, dates)), columns=list(DRIFT_COLUMNS)
    )
    return pd.concat([table, series], ignore_index=True)[list(DRIFT_COLUMNS)]


def _limit(limits: DriftLimits, name: str) -> float:
    if name == ERROR:
        return limits.error_move
    if is_share(name):
        return limits.share_move
    return limits.known_move if name.endswith(" level") else limits.level_move


def _long(
    dates: pd.DatetimeIndex,
    name: str,
    groups: Groups,
    window_days: int,
    found: dict[str, Floats],
    limit: float,
) -> pd.DataFrame:
    count = len(groups.names)
    return pd.DataFrame(
        {
            "ds": np.repeat(dates.to_numpy(), count),
            "figure": name,
            "column": [column for column, _ in groups.names] * len(dates),
            "segment": [segment for _, segment in groups.names] * len(dates),
            "window_days": window_days,
            **{title: values.ravel() for title, values in found.items()},
            "limit": limit,
        }
    )


def _series_rows(
    figures: dict[str, Floats], limits: DriftLimits, frequency: Frequency, dates: pd.DatetimeIndex
) -> Iterator[tuple[object, ...]]:
    """Shares of series that have moved each by itself, over the longest window."""
    window_days = max(limits.windows_days)
    window, before = frequency.dates(window_days), frequency.dates(limits.before_days)
    for name, values in figures.items():
        if name == ERROR:
            share = outlying(values.T, window, before, limits.sds, ERROR_FLOOR)
            limit = limits.error_series
        elif name.endswith(" present"):
            mean = pd.DataFrame(values.T).rolling(window).mean()
            base = pd.DataFrame(values.T).shift(window).rolling(before, min_periods=before // 2).mean()
            share = ((mean - base).abs() > APPEARS).mean(axis=1).to_numpy()
            limit = limits.known_series
        else:
            continue
        for ds, value in zip(dates, share[-len(dates) :], strict=True):
            yield (
                *(ds, f"{name} series", "", ALL, window_days),
                *(value, np.nan, np.nan, np.nan, limit, bool(value > limit)),
            )
