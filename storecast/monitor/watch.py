"""All checks of a data set as of a day: scores, drift and feed into one health record and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from storecast.monitor.config import FeedLimits, MonitorConfig, ScoreLimits
from storecast.monitor.feed_days import KINDS, feed_table
from storecast.monitor.health import ALL, CHECKS, Check, Health
from storecast.monitor.inputs import Groups
from storecast.monitor.moved import ERROR, drift_table
from storecast.monitor.needs import drift_needs, scores_need
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
    to_come, served = served, served[served["ds"] <= panel.cutoff]
    sums = daily(served[served["ds"] > panel.cutoff - SCORED], segments, columns)
    drift = drift_table(panel, served, segments, columns, config, min(drift_days, panel.n_history))
    groups = Groups.of(segments.loc[list(panel.ids)], columns).decisive(config.scores.decisive_share)
    found = [
        *score_checks(sums, panel.cutoff, config.scores, set(groups.names)),
        *drift_checks(drift[drift["ds"] == panel.cutoff]),
        *feed_checks(panel, served, as_of, config.feed),
    ]
    found += _not_told(found, panel, to_come, sums, config)
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
    if sums.empty:
        return
    window = max(limits.windows_days)
    for row in _records(rolling(sums, window, day)):
        if (row["column"], row["segment"]) in decisive and row["n"] >= limits.min_rows:
            yield from _scored(row, limits, window)


def _not_told(
    found: list[Check], panel: Panel, served: pd.DataFrame, sums: pd.DataFrame, config: MonitorConfig
) -> Iterator[Check]:
    """For each check of accuracy and drift that is not among those found: why, and what is needed."""
    window, names = max(config.scores.windows_days), {check.name for check in found}
    recent = [] if sums.empty else _records(rolling(sums, window, panel.cutoff))
    rows = max((int(row["n"]) for row in recent), default=0)
    for name in ("error", "bias", "coverage"):
        if name not in names:
            note = scores_need(served, panel, rows, config.scores)
            yield Check(name, ALL, None, 0.0, False, window, note)
    dates = {"error_drift": served.loc[served["y"].notna(), "ds"].nunique(), "input_drift": panel.n_history}
    for name, count in dates.items():
        if name not in names:
            note = drift_needs(name, int(count), config.drift, panel)
            yield Check(name, ALL, None, 0.0, False, max(config.drift.windows_days), note)


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
    else:
        note = f"Nothing was sold in {window} days: there are no sales to compare with."
        yield Check("bias", at, None, limits.bias, False, window, note)
    low, high = limits.coverage_80
    note = f"{coverage:.1%} of the sales are inside the 80 % interval; {low:.0%} to {high:.0%} are tolerated"
    limit = low if coverage < 0.8 else high
    yield Check("coverage", at, coverage, limit, not low <= coverage <= high, window, note)


def drift_checks(drift: pd.DataFrame) -> Iterator[Check]:
    """Of each figure the largest move over all series, and every breach.

    A move of which nobody knows yet how far such moves usually go is none: it has no p-value.
    """
    series = drift["figure"].astype(str).str.endswith(" series")
    size = (drift["move"].abs() / drift["limit"]).where(drift["move"] != 0, 0.0)  # a limit may be 0, too
    size = size.where(series | drift["adjusted"].notna())
    shown = drift[drift["breached"] | (drift["column"].eq("") & size.notna())]
    shown = shown.assign(size=size).sort_values(["breached", "size"], ascending=False)
    for row in _records(shown.drop_duplicates(["figure", "column", "segment"])):
        name = "error_drift" if row["figure"] in {ERROR, f"{ERROR} series"} else "input_drift"
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
    limit = limits.stale_days + panel.frequency.oldest
    note = f"the last actuals are of {panel.cutoff.date()}"
    yield Check("freshness", ALL, float(late), float(limit), late > limit, 1, note)
    found = feed_table(panel, served, limits)
    for (name, kind), rows in found.groupby(["name", "kind"], sort=False):
        told = rows[rows["series"] >= limits.min_series]
        if told.empty:
            most, least = rows["series"].max(), float(rows["limit"].iloc[0])
            note = f"{KINDS[str(kind)]}: {most} series tell it, {limits.min_series} are needed"
            yield Check(str(name), ALL, None, least, False, limits.days, f"{note} (feed.min_series)")
            continue
        worst = told.loc[[told["value"].abs().idxmax()]]
        for row in _records(pd.concat([told[told["breached"]], worst]).drop_duplicates()):
            value, at = float(row["value"]), str(row["segment"])
            note = f"{KINDS[str(kind)]} on {row['ds'].date()}: {value:.2f} ({row['series']} series tell)"
            yield Check(str(name), at, value, float(row["limit"]), bool(row["breached"]), limits.days, note)


def _segment(row: dict[str, Any]) -> str:
    return f"{row['column']}={row['segment']}" if row["column"] else str(row["segment"])


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
