"""Rolling-origin evaluation: which cutoffs, and the table of forecasts beside actuals.

The folds are of one horizon each, do not overlap, and end at the panel's cutoff: with 3 folds of 16 days
the last 48 days are forecast from 48, 32 and 16 days before the cutoff (Tashman 2000).
"""

from __future__ import annotations

import pandas as pd

from storecast.errors import ConfigError, DataError
from storecast.metrics import CV_COLUMNS
from storecast.panel import Panel


def fold_cutoffs(panel: Panel, folds: int) -> list[pd.Timestamp]:
    """Cutoffs of the folds, the earliest first.

    Raises:
        DataError: the history is too short: each fold needs a horizon of actuals, and two seasons (or a
            horizon, if that is longer) must be left to learn from.
    """
    left = panel.n_history - folds * panel.horizon
    weekly_seasons = 2 * min(panel.frequency.season, 7)
    need = max(weekly_seasons, panel.horizon)
    if panel.horizon < 1 or left < need:
        raise DataError(
            f"the history is too short for {folds} fold{'s' if folds > 1 else ''} of {panel.horizon} dates",
            where=f"panel {panel.dates[0].date()}..{panel.cutoff.date()}",
            expected=f"at least {need + folds * panel.horizon} dates of history",
            found=f"{panel.n_history} dates",
            cure="give more history, a shorter horizon in the data set's YAML, or fewer folds",
        )
    return [panel.dates[left - 1 + i * panel.horizon] for i in range(folds)]


def cutoff_date(panel: Panel, cutoff: str) -> pd.Timestamp:
    """The date of a cutoff that is counted from the panel's end, for plans made before there is a panel.

    Args:
        panel: the panel.
        cutoff: "last" for the panel's cutoff; "fold:k/n" for the k-th of n folds, the earliest first.

    Raises:
        ConfigError: it is none of these.
        DataError: the history is too short for so many folds.
    """
    number, _, count = cutoff.removeprefix("fold:").partition("/")
    if cutoff.startswith("fold:") and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count):
        return fold_cutoffs(panel, int(count))[int(number) - 1]
    if cutoff == "last":
        return panel.cutoff
    raise ConfigError(
        "not a cutoff",
        found=cutoff,
        expected='a date such as 2017-07-30, "last", or "fold:k/n" with 1 ≤ k ≤ n such as fold:1/3',
    )


def cv_rows(panel: Panel, model: str, cutoff: pd.Timestamp, forecast: pd.DataFrame) -> pd.DataFrame:
    """One model's forecasts at a cutoff as rows of the cv table, with the actuals that the panel knows.

    Args:
        panel: the whole panel, which knows what came after the cutoff.
        model: name for the `model` column.
        cutoff: the fold's cutoff.
        forecast: `Forecast.to_frame()`: every series of the panel, every day of the horizon.
    """
    rows = pd.Index(panel.ids).get_indexer(pd.Index(forecast["unique_id"]))
    cols = panel.dates.get_indexer(pd.DatetimeIndex(forecast["ds"]))
    return forecast.assign(cutoff=cutoff, model=model, y=panel.y[rows, cols])[list(CV_COLUMNS)]
