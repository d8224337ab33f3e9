"""Is what arrives whole and plausible: fresh, nothing missing, no zeros or repeated days, no wrong factor?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.calendar import event_days
from storecast.panel import Floats, Panel

SEASONS, LOOK_BACK = 6, 12
"""Same weekdays before the day that say what is usual, and among how many they are looked for: days on which
next to nobody sold, a holiday or a feed of zeros, say nothing."""


@dataclass(frozen=True, eq=False)
class Day:
    """One day of actuals beside what is usual.

    Attributes:
        y: (n,) the day's sales.
        usual: (n,) median sales of the last `SEASONS` same weekdays that were open; NaN where not observed.
        always: (n,) whether the series sold on each of these days.
        expected: (n,) what was served for the day; NaN where nothing was.
        before: (k, n) sales of the day before and of the week before.
        festive: (n,) whether the day is a holiday for the series, or nobody sold on that date a year ago.
        due: (n,) whether a row is to be expected: the series was observed on the last of these days.
    """

    y: Floats
    usual: Floats
    always: NDArray[np.bool_]
    expected: Floats
    before: Floats
    festive: NDArray[np.bool_]
    due: NDArray[np.bool_]


def look(panel: Panel, day: pd.Timestamp, expected: pd.Series | None = None) -> Day:
    """One day of a panel's history.

    Args:
        panel: the panel.
        day: a date of its history.
        expected: forecast by unique_id; None: nothing was served for it.
    """
    at = int(panel.dates.searchsorted(day))
    step = panel.frequency.week
    back = [each for k in range(LOOK_BACK) if (each := at - step * (k + 1)) >= 0 and not _closed(panel, each)]
    back = back[:SEASONS]
    history = panel.y[:, back] if back else np.full((panel.n_series, 1), np.nan)
    seen = np.isfinite(history)
    served = np.full(panel.n_series, np.nan)
    if expected is not None:
        served = expected.reindex(pd.Index(panel.ids)).to_numpy(dtype=np.float64)
    lags = [lag for lag in dict.fromkeys((1, step)) if at >= lag]
    one = replace(panel, dates=panel.dates[[at]], y=panel.y[:, [at]], known={}, past={}, cutoff=day)
    return Day(
        y=panel.y[:, at],
        usual=np.where(seen.all(axis=1), np.median(np.where(seen, history, 0.0), axis=1), np.nan),
        always=np.asarray((seen & (history > 0)).all(axis=1)) & bool(back),
        expected=served,
        before=panel.y[:, [at - lag for lag in lags]].T,
        festive=(event_days(one)[:, 0] > 0) | _closed_a_year_ago(panel, day),
        due=seen[:, 0],
    )


def _closed_a_year_ago(panel: Panel, day: pd.Timestamp) -> bool:
    same = panel.dates.get_indexer(pd.DatetimeIndex([day - pd.DateOffset(years=1)]))[0]
    return bool(same >= 0 and _closed(panel, int(same)))


def _closed(panel: Panel, at: int) -> bool:
    return bool((np.nan_to_num(panel.y[:, at]) == 0).mean() > CLOSED)


CLOSED = 0.9
"""Share of series without sales from which a day was closed."""


def figures(day: Day, groups: NDArray[np.int64], count: int) -> pd.DataFrame:
    """The day's figures of each group.

    Args:
        day: the day.
        groups: (n,) group of each series, 0 to count − 1.
        count: number of groups.

    Returns:
        One row per group: `missing` (share of series of which a row is due that were not observed), `zeros`
        (share of the series that always sell on this weekday and did not, holidays apart), `repeated` (share
        of selling series with exactly the sales of the day or week before), `over_usual` and `over_forecast`
        (median log factor of the sales over the usual ones and over the forecast, holidays apart), and the
        number of series behind each: `n_missing`, `n_zeros`, ....
    """
    seen = np.isfinite(day.y)
    big = seen & (day.usual >= LEAST) & (day.y > 0)
    usual_days = big & day.always & ~day.festive
    out = pd.DataFrame(index=pd.RangeIndex(count))
    _share(out, "missing", ~seen, day.due, groups)
    _share(out, "zeros", day.y == 0, day.always & ~day.festive & seen, groups)
    _share(out, "repeated", (day.y == day.before).any(axis=0), big, groups)
    _factor(out, "over_usual", day.y, day.usual, usual_days, groups)
    _factor(out, "over_forecast", day.y, day.expected, usual_days & (day.expected > 0), groups)
    return out


LEAST = 5.0
"""Usual sales from which a series says something about factors and repeats: small counts repeat by chance."""


def _share(
    out: pd.DataFrame, name: str, hit: NDArray[np.bool_], of: NDArray[np.bool_], groups: NDArray[np.int64]
) -> None:
    total = np.bincount(groups[of], minlength=len(out))
    hits = np.bincount(groups[of & hit], minlength=len(out))
    out[name] = np.divide(hits, total, out=np.zeros(len(out)), where=total > 0)
    out[f"n_{name}"] = total


def _factor(
    out: pd.DataFrame, name: str, y: Floats, base: Floats, of: NDArray[np.bool_], groups: NDArray[np.int64]
) -> None:
    """Median log factor of y over a base; NaN for groups without series to tell it by."""
    logs = np.full(len(y), np.nan)
    logs[of] = np.log1p(y[of]) - np.log1p(base[of])
    out[name] = pd.Series(logs).groupby(groups).median().reindex(out.index)
    out[f"n_{name}"] = np.bincount(groups[of], minlength=len(out))


def scale_factors(
    panel: Panel, day: pd.Timestamp, found: pd.DataFrame, groups: NDArray[np.int64], suspicious: float
) -> Floats:
    """(groups,) log factor by which everything is up or down, as none of the references explains it.

    The references are the same weekday of the last weeks, the forecast, and what the group did to its usual
    sales on the days around the same date a year ago: the one that leaves least counts.

    Args:
        panel: the panel.
        day: the date of the figures.
        found: `figures` of the day.
        groups: (n,) group of each series.
        suspicious: log factor below which a year ago is not asked.
    """
    usual = found["over_usual"].fillna(0.0).to_numpy()
    forecast = found["over_forecast"].fillna(found["over_usual"]).fillna(0.0).to_numpy()
    left = _nearest(usual, forecast)
    if np.abs(left).max(initial=0.0) < suspicious:
        return left
    around = panel.dates[
        np.abs((panel.dates - (day - pd.DateOffset(years=1))).days)
        <= min(AROUND * panel.frequency.days, MONTH_DAYS)
    ]
    for date in around:
        ago = figures(look(panel, date), groups, len(found))["over_usual"].to_numpy()
        left = _nearest(left, np.where(np.isfinite(ago), usual - ago, left))
    return left


AROUND, MONTH_DAYS = 3, 31
"""Dates around the same date a year ago whose sales are compared: feasts move."""


def _nearest(one: Floats, other: Floats) -> Floats:
    """The one nearer to none where both point the same way, else 0."""
    nearer = np.where(np.abs(one) < np.abs(other), one, other)
    return np.where(np.sign(one) == np.sign(other), nearer, 0.0)
