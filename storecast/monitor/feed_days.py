"""The last days of the feed, as a table: of each day, kind of fault and sender a figure beside its limit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from storecast.metrics import check_columns
from storecast.monitor.config import FeedLimits
from storecast.monitor.feed import figures, look, scale_factors
from storecast.monitor.health import ALL
from storecast.panel import Panel

KINDS = {
    "missing": "share of series without a row",
    "zeros": "share of series that always sell and have no sales",
    "repeated": "share of series with exactly the sales of the day or week before",
    "scale": "log factor that neither forecast, nor last weeks, nor last year explain",
}


def feed_table(panel: Panel, served: pd.DataFrame, limits: FeedLimits) -> pd.DataFrame:
    """What the last days of the feed look like.

    Returns:
        One row per day, kind and group with enough series: `ds, name` (of the check), `kind` (of `KINDS`),
        `segment, value, limit, series, breached`.

    Raises:
        DataError: the panel has no such column as the limits name.
    """
    column = limits.groups or str(panel.static.columns[0])
    check_columns(panel.static, [column], where="feed.groups of the monitoring config")
    names = sorted(set(panel.static[column]))
    codes = pd.Index(names).get_indexer(pd.Index(panel.static[column]))
    together = np.zeros(panel.n_series, dtype=np.int64)
    rows: list[pd.DataFrame] = []
    dates = panel.frequency.dates
    wanted = panel.dates[max(0, panel.n_history - dates(limits.days)) : panel.n_history]
    earlier = dates(limits.sender_days) - 1
    for day in panel.dates[max(0, panel.n_history - len(wanted) - earlier) : panel.n_history]:
        mine = served[served["ds"] == day]
        expected = pd.Series(mine["yhat"].to_numpy(np.float64), index=pd.Index(mine["unique_id"]))
        today = look(panel, day, expected[~expected.index.duplicated()] if len(mine) else None)
        for groups, labels in ((together, [ALL]), (codes, [f"{column}={name}" for name in names])):
            table = figures(today, groups, len(labels))
            asked = float(np.log(limits.scale)) if groups is codes else np.inf
            table["scale"] = scale_factors(panel, day, table, groups, asked)
            table["n_scale"] = table["n_over_usual"]
            rows += [_kind(table, kind, day, labels, limits) for kind in KINDS]
    found = _lasting(pd.concat(rows, ignore_index=True), dates(limits.sender_days))
    return found[found["ds"].isin(wanted)].reset_index(drop=True)


def _lasting(found: pd.DataFrame, days: int) -> pd.DataFrame:
    """One sender's factor counts when it lasts: the least of the last days, 0 where signs differ."""
    mine = found[(found["kind"] == "scale") & (found["segment"] != ALL)]
    by = mine.groupby("segment", sort=False)["value"]
    low = by.transform(lambda v: v.rolling(days, min_periods=days).min()).fillna(0.0)
    high = by.transform(lambda v: v.rolling(days, min_periods=days).max()).fillna(0.0)
    value = low.where(low > 0, high.where(high < 0, 0.0))
    found.loc[mine.index, "value"] = value
    found.loc[mine.index, "breached"] = mine["breached"] & (value.abs() > mine["limit"])
    return found


def _kind(
    table: pd.DataFrame, kind: str, day: pd.Timestamp, labels: list[str], limits: FeedLimits
) -> pd.DataFrame:
    limit = {
        "missing": limits.missing_series,
        "zeros": limits.zero_series,
        "repeated": limits.repeated_series,
        "scale": float(np.log(limits.scale)),
    }[kind]
    rows = pd.DataFrame(
        {
            "ds": day,
            "name": "scale" if kind == "scale" else "volume",
            "kind": kind,
            "segment": labels,
            "value": table[kind].to_numpy(),
            "limit": limit,
            "series": table[f"n_{kind}"].to_numpy(),
        }
    )
    rows = rows[(rows["series"] >= limits.min_series) | (rows["segment"] == ALL)]
    return rows.assign(breached=(rows["value"].abs() > limit) & (rows["series"] >= limits.min_series))
