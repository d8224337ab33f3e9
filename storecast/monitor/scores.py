"""Scores of what was served, day by day and segment by segment, and rolling over windows of days.

A day's row holds sums, so a window's score is the sum of its days: pooled over rows, like all scores here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from storecast.metrics import INTERVALS, squared_log_error
from storecast.monitor.health import ALL
from storecast.segments import attach

SUMS = (
    *("n", "sle", "naive_sle", "promise", "naive_promise"),
    *("absolute", "error", "actual", "log_error", "inside_80", "inside_95"),
)
KEYS = ("ds", "column", "segment")
SCORES = (
    *("rmsle", "naive_rmsle", "promised_rmsle", "promised_naive_rmsle"),
    *("wape", "bias", "coverage_80", "coverage_95"),
)


def daily(served: pd.DataFrame, segments: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Sums of each day and segment.

    Args:
        served: see `served_rows`; rows whose `y` or `naive` is NaN are left out.
        segments: segments of each series by unique_id.
        columns: segment columns, besides all series together (column "", segment `ALL`).

    Returns:
        `ds, column, segment`, then `SUMS`: rows, squared log errors of forecast and naive and their promised
        values, |error|, error, |actual| (units of sales), log error (log(1+y) − log(1+yhat)), and rows
        inside the intervals.
    """
    known = served[served["y"].notna() & served["naive"].notna()]
    rows = _row_sums(known)
    parts = [_summed(rows, "", pd.Series(ALL, index=rows.index))]
    ids = rows[["unique_id"]]
    parts += [_summed(rows, column, attach(ids, segments, [column])[column]) for column in columns]
    return pd.concat(parts, ignore_index=True)[[*KEYS, *SUMS]]


def _row_sums(known: pd.DataFrame) -> pd.DataFrame:
    y, yhat, naive = (known[name].to_numpy(np.float64) for name in ("y", "yhat", "naive"))
    out = {
        "unique_id": known["unique_id"].to_numpy(),
        "ds": known["ds"].to_numpy(),
        "n": np.ones(len(known)),
        "sle": squared_log_error(y, yhat),
        "naive_sle": squared_log_error(y, naive),
        "promise": known["promise"].to_numpy(np.float64),
        "naive_promise": known["naive_promise"].to_numpy(np.float64),
        "absolute": np.abs(yhat - y),
        "error": yhat - y,
        "actual": np.abs(y),
        "log_error": np.log1p(y) - np.log1p(np.maximum(yhat, 0.0)),
    }
    for percent, low, high in INTERVALS:
        inside = (known[low].to_numpy(np.float64) <= y) & (y <= known[high].to_numpy(np.float64))
        out[f"inside_{percent}"] = inside.astype(np.float64)
    return pd.DataFrame(out)


def _summed(rows: pd.DataFrame, column: str, segment: pd.Series) -> pd.DataFrame:
    by = [rows["ds"], segment.astype(str).rename("segment")]
    sums = rows.groupby(by, sort=True)[list(SUMS)].sum(min_count=1).reset_index()
    return sums.assign(column=column)


def rolling(sums: pd.DataFrame, window: int, as_of: pd.Timestamp | None = None) -> pd.DataFrame:
    """Scores over the last `window` days of each day and segment.

    Args:
        sums: see `daily`.
        window: days.
        as_of: only of that day (the last one with actuals up to it); None: of every day.

    Returns:
        `ds, column, segment, window_days, n`, then `SCORES`: RMSLE of forecast and naive, and what the
        backtest promised of both (NaN without); WAPE, bias ((Σ forecast − Σ actual) / Σ actual) and coverage
        as shares.
    """
    if as_of is not None:
        recent = sums[sums["ds"] <= as_of]
        last = recent["ds"].max()
        recent = recent[recent["ds"] > last - pd.Timedelta(days=window)]
        totals = recent.groupby(["column", "segment"], sort=False)[list(SUMS)].sum(min_count=1).reset_index()
        return _scores(totals.assign(ds=last), window)
    parts = []
    for (column, segment), rows in sums.groupby(["column", "segment"], sort=False):
        dated = rows.set_index("ds")[list(SUMS)].sort_index()
        totals = dated.rolling(f"{window}D").sum().reset_index()
        parts.append(totals.assign(column=column, segment=segment))
    return _scores(pd.concat(parts, ignore_index=True), window) if parts else _scores(sums, window)


def _scores(totals: pd.DataFrame, window: int) -> pd.DataFrame:
    n, volume = totals["n"], totals["actual"].replace(0.0, np.nan)
    out = totals[list(KEYS)].assign(window_days=window, n=n.astype(np.int64))
    for name, column in zip(SCORES[:4], ("sle", "naive_sle", "promise", "naive_promise"), strict=True):
        out[name] = np.sqrt(totals[column] / n)
    out["wape"] = totals["absolute"] / volume
    out["bias"] = totals["error"] / volume
    for percent, _, _ in INTERVALS:
        out[f"coverage_{percent}"] = totals[f"inside_{percent}"] / n
    return out
