"""All checks of a data set as of a day: scores, drift and feed into one health record and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from storecast.monitor.config import FeedLimits, MonitorConfig, ScoreLimits
from storecast.monitor.feed import figures, look, scale_factors
from storecast.monitor.health import ALL, CHECKS, Check, Health
from storecast.monitor.inputs import Groups
from storecast.monitor.moved import ERROR, drift_table
from storecast.monitor.scores import daily, rolling
from storecast.panel import Panel
from storecast.segments import segment_table

SCORED = pd.Timedelta(days=56 * 7)
"""How far back scores are rolled."""


@dataclass(frozen=True, eq=False)
class Watch:
    """What monitoring found.

    Attributes:
        health: every check.
        errors: sums of each day and segment, see `scores.daily`.
        scores: rolling scores of every day, segment and window, see `scores.rolling`.
        drift: see `moved.drift_table`.
    """

    health: Health
    errors: pd.DataFrame
    scores: pd.DataFrame
    drift: pd.DataFrame


def watch(
    panel: Panel,
    served: pd.DataFrame,
    as_of: pd.Timestamp,
    config: MonitorConfig | None = None,
    *,
    dataset: str = "",
    release: str = "",
    drift_days: int = 1,
) -> Watch:
    """Check a data set as of a day.

    Args:
        panel: the panel with all actuals that are known on that day; its cutoff is their last date.
        served: see `served_rows`; at least the last 8 weeks, better a year: drift is measured against it.
        as_of: the day; only freshness looks beyond the panel's cutoff.
        config: limits; None: the defaults.
        dataset: name, for the record.
        release: id of the release that is served, for the record; "": the last one of `served`.
        drift_days: days that the table of drift holds; only the last one counts for the checks.
    """
    config = config or MonitorConfig()
    segments = segment_table(panel, panel.cutoff)
    columns = config.columns({str(name): int(column.nunique()) for name, column in segments.items()})
    served = served[served["ds"] <= panel.cutoff]
    sums = daily(served[served["ds"] > panel.cutoff - SCORED], segments, columns)
    drift = drift_table(panel, served, segments, columns, config, min(drift_days, panel.n_history))
    groups = Groups.of(segments.loc[list(panel.ids)], columns).decisive(config.scores.decisive_share)
    found = [
        *score_checks(sums, panel.cutoff, config.scores, set(groups.names)),
        *drift_checks(drift[drift["ds"] == panel.cutoff]),
        *feed_checks(panel, served, as_of, config.feed),
    ]
    ordered = sorted(found, key=lambda check: (CHECKS.index(check.name), not check.breached))
    known = served["y"].notna() if len(served) else pd.Series(dtype=bool)
    last = str(served["release"].iloc[int(served["ds"].argmax())]) if len(served) else ""
    counts = {
        "series": panel.n_series,
        "served_rows": len(served),
        "rows_with_actuals": int(known.sum()),
        "checks": len(found),
        "breached": sum(check.breached for check in found),
    }
    health = Health(dataset, release or last, str(as_of.date()), tuple(ordered), counts)
    windows = [rolling(sums, window) for window in dict.fromkeys((1, *config.scores.windows_days))]
    return Watch(health, sums, pd.concat(windows, ignore_index=True), drift)


def score_checks(
    sums: pd.DataFrame, day: pd.Timestamp, limits: ScoreLimits, decisive: set[tuple[str, str]]
) -> Iterator[Check]:
    """Checks of error, bias and coverage over the longest window, by decisive segment."""
    window, told = max(limits.windows_days), False
    rows = [] if sums.empty else _records(rolling(sums, window, day))
    for row in rows:
        if (row["column"], row["segment"]) in decisive and row["n"] >= limits.min_rows:
            told = True
            yield from _scored(row, limits, window)
    if not told:
        count = max((int(row["n"]) for row in rows), default=0)
        note = f"{count} rows of what was served have actuals, {limits.min_rows} are needed"
        for name in ("error", "bias", "coverage"):
            yield Check(name, ALL, None, 0.0, False, window, note)


def _scored(row: dict[str, Any], limits: ScoreLimits, window: int) -> Iterator[Check]:
    at = _segment(row)
    rmsle, naive, promised, naive_then, bias, coverage = (
        float(row[name])
        for name in (
            *("rmsle", "naive_rmsle", "promised_rmsle", "promised_naive_rmsle"),
            *("bias", "coverage_80"),
        )
    )
    limit = limits.error_over_naive
    ratio = rmsle / naive if naive > 0 else None
    note = f"RMSLE {rmsle:.4f}, seasonal naive {naive:.4f}"
    yield Check("error", at, ratio, limit, ratio is not None and ratio > limit, window, note)
    if np.isfinite(promised) and promised > 0:
        harder = max(1.0, naive / naive_then) if naive_then > 0 else 1.0
        limit, ratio = limits.error_over_promise, rmsle / (promised * harder)
        note = f"RMSLE {rmsle:.4f}, the backtest promised {promised:.4f}"
        note += f"; the naive errs {harder:.2f} times as much as then" if harder > 1 else ""
        yield Check("error", at, ratio, limit, ratio > limit, window, note)
    if np.isfinite(bias):
        note = f"forecasts are {bias:+.1%} of the sales"
        yield Check("bias", at, bias, limits.bias, abs(bias) > limits.bias, window, note)
    low, high = limits.coverage_80
    note = f"{coverage:.1%} of the sales are inside the 80 % interval; {low:.0%} to {high:.0%} are tolerated"
    limit = low if coverage < 0.8 else high
    yield Check("coverage", at, coverage, limit, not low <= coverage <= high, window, note)


def drift_checks(drift: pd.DataFrame) -> Iterator[Check]:
    """Of each figure the largest move over all series, and every breach."""
    if drift.empty:
        return
    size = drift["move"].abs() / drift["limit"]
    shown = drift[drift["breached"] | (drift["column"].eq("") & size.notna())]
    shown = shown.assign(size=size).sort_values(["breached", "size"], ascending=False)
    for row in _records(shown.drop_duplicates(["figure", "column", "segment"])):
        name = "error_drift" if str(row["figure"]).startswith(ERROR) else "input_drift"
        move, spread = float(row["move"]), float(row["spread"])
        note = f"{row['figure']} moved by {move:+.3f}; moves of {spread:.3f} are usual"
        if not np.isfinite(spread):
            note = f"{row['figure']}: {move:.1%} have moved, each by itself"
        window, breached = int(row["window_days"]), bool(row["breached"])
        yield Check(name, _segment(row), move, float(row["limit"]), breached, window, note)


def feed_checks(
    panel: Panel, served: pd.DataFrame, as_of: pd.Timestamp, limits: FeedLimits
) -> Iterator[Check]:
    """Checks of freshness, volume and scale: of each kind the worst of the last days, and every breach."""
    late = (as_of - panel.cutoff).days
    limit = limits.stale_days + (0 if panel.freq == "D" else 6)
    note = f"the last actuals are of {panel.cutoff.date()}"
    yield Check("freshness", ALL, float(late), float(limit), late > limit, 1, note)
    found = feed_table(panel, served, limits)
    for (name, kind), rows in found.groupby(["name", "kind"], sort=False):
        worst = rows.loc[[(rows["value"].abs() / rows["limit"]).idxmax()]]
        for row in _records(pd.concat([rows[rows["breached"]], worst]).drop_duplicates()):
            value, at = float(row["value"]), str(row["segment"])
            note = f"{KINDS[str(kind)]} on {row['ds'].date()}: {value:.2f} ({row['series']} series tell)"
            yield Check(str(name), at, value, float(row["limit"]), bool(row["breached"]), limits.days, note)


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
    """
    column = limits.groups or str(panel.static.columns[0])
    names = sorted(set(panel.static[column]))
    codes = pd.Index(names).get_indexer(pd.Index(panel.static[column]))
    together = np.zeros(panel.n_series, dtype=np.int64)
    rows: list[pd.DataFrame] = []
    step = 1 if panel.freq == "D" else 7
    wanted = panel.dates[max(0, panel.n_history - max(1, limits.days // step)) : panel.n_history]
    earlier = limits.sender_days // step - 1
    for day in panel.dates[max(0, panel.n_history - len(wanted) - max(0, earlier)) : panel.n_history]:
        mine = served[served["ds"] == day]
        expected = pd.Series(mine["yhat"].to_numpy(np.float64), index=pd.Index(mine["unique_id"]))
        today = look(panel, day, expected[~expected.index.duplicated()] if len(mine) else None)
        for groups, labels in ((together, [ALL]), (codes, [f"{column}={name}" for name in names])):
            table = figures(today, groups, len(labels))
            asked = float(np.log(limits.scale)) if groups is codes else np.inf
            table["scale"] = scale_factors(panel, day, table, groups, asked)
            table["n_scale"] = table["n_over_usual"]
            rows += [_kind(table, kind, day, labels, limits) for kind in KINDS]
    found = _lasting(pd.concat(rows, ignore_index=True), max(1, limits.sender_days // step))
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


def _segment(row: dict[str, Any]) -> str:
    return f"{row['column']}={row['segment']}" if row["column"] else str(row["segment"])


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
