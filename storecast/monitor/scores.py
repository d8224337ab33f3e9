"""Scores of what was served, day by day and segment by segment, and rolling over windows of days.

A day's row holds sums, so a window's score is the sum of its days: pooled over rows, like all scores here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.metrics import INTERVALS, squared_log_error
from storecast.monitor.health import ALL
from storecast.panel import Floats
from storecast.segments import attach

SUMS = (
    *("n", "sle", "naive_sle", "promised", "promise", "naive_promise"),
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
        `ds, column, segment`, then `SUMS`: rows, squared log errors of forecast and naive, rows of which a
        backtest promised something and both promised values, |error|, error, |actual| (units of sales), log
        error (log(1+y) − log(1+yhat)), and rows inside the intervals.
    """
    known = served[served["y"].notna() & served["naive"].notna()]
    sums = _row_sums(known)
    days, dates = pd.factorize(known["ds"], sort=True)
    parts = [_summed(sums, days, dates, "", np.zeros(len(known), dtype=np.int64), [ALL])]
    for column in columns:
        values = attach(known[["unique_id"]], segments, [column])[column].cat
        names = [str(name) for name in values.categories]
        parts.append(_summed(sums, days, dates, column, np.asarray(values.codes, dtype=np.int64), names))
    return pd.concat(parts, ignore_index=True)[[*KEYS, *SUMS]]


def _row_sums(known: pd.DataFrame) -> dict[str, Floats]:
    y, yhat, naive = (known[name].to_numpy(np.float64) for name in ("y", "yhat", "naive"))
    out = {
        "n": np.ones(len(known)),
        "sle": squared_log_error(y, yhat),
        "naive_sle": squared_log_error(y, naive),
        "promised": known["promise"].notna().to_numpy(np.float64),
        "promise": known["promise"].fillna(0.0).to_numpy(np.float64),
        "naive_promise": known["naive_promise"].fillna(0.0).to_numpy(np.float64),
        "absolute": np.abs(yhat - y),
        "error": yhat - y,
        "actual": np.abs(y),
        "log_error": np.log1p(y) - np.log1p(np.maximum(yhat, 0.0)),
    }
    for percent, low, high in INTERVALS:
        inside = (known[low].to_numpy(np.float64) <= y) & (y <= known[high].to_numpy(np.float64))
        out[f"inside_{percent}"] = inside.astype(np.float64)
    return out


def _summed(
    sums: dict[str, Floats],
    days: NDArray[np.int64],
    dates: pd.Index,
    column: str,
    codes: NDArray[np.int64],
    names: list[str],
) -> pd.DataFrame:
    """One row per day and segment that has rows."""
    size = len(dates) * len(names)
    cells = days * len(names) + codes
    total = {name: np.bincount(cells, weights=sums[name], minlength=size) for name in SUMS}
    there = np.flatnonzero(total["n"])
    at, segment = np.divmod(there, max(len(names), 1))
    keys = {"ds": dates[at], "column": column, "segment": np.array(names, dtype=object)[segment]}
    return pd.DataFrame({**keys, **{name: values[there] for name, values in total.items()}})


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
        totals = recent.groupby(["column", "segment"], sort=False)[list(SUMS)].sum().reset_index()
        return _scores(totals.assign(ds=last), window)
    parts = []
    for (column, segment), rows in sums.groupby(["column", "segment"], sort=False):
        dated = rows.set_index("ds")[list(SUMS)].sort_index()
        totals = dated.rolling(f"{window}D").sum().reset_index()
        parts.append(totals.assign(column=str(column), segment=str(segment)))
    return _scores(pd.concat(parts, ignore_index=True), window) if parts else _scores(sums, window)


def _scores(totals: pd.DataFrame, window: int) -> pd.DataFrame:
    n, volume = totals["n"], totals["actual"].replace(0.0, np.nan)
    out = totals[list(KEYS)].assign(window_days=window, n=n.astype(np.int64))
    promised = totals["promised"].where(totals["promised"] > 0)
    of = {"sle": n, "naive_sle": n, "promise": promised, "naive_promise": promised}
    for name, (column, count) in zip(SCORES[:4], of.items(), strict=True):
        out[name] = np.sqrt(totals[column] / count)
    out["wape"] = totals["absolute"] / volume
    out["bias"] = totals["error"] / volume
    for percent, _, _ in INTERVALS:
        out[f"coverage_{percent}"] = totals[f"inside_{percent}"] / n
    return out
