"""What was served on which day, beside what happened, the seasonal naive and what the backtest promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.blend import BLEND
from storecast.metrics import QUANTILE_COLUMNS, check_columns, squared_log_error
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Floats, Panel
from storecast.store import parquet
from storecast.store.releases import ReleaseStore
from storecast.training_config import NAIVE

Rows = NDArray[np.int64]
SERVED_COLUMNS = (
    *("unique_id", "ds", "cutoff", "h", "release", "y", "yhat", *QUANTILE_COLUMNS),
    *("naive", "promise", "naive_promise"),
)


@dataclass(frozen=True, eq=False)
class Activation:
    """A release, and from when its forecasts were the ones that were served.

    Attributes:
        release: id.
        at: date from which it was served, until the next activation.
        forecasts: `unique_id, ds, h, yhat`, quantiles; one row per series and date.
        backtest: cv rows of the release's blend and of the naive, or None: nothing was promised.
    """

    release: str
    at: pd.Timestamp
    forecasts: pd.DataFrame
    backtest: pd.DataFrame | None = None


def activations_of(
    releases: ReleaseStore, since: pd.Timestamp, promised_since: pd.Timestamp
) -> list[Activation]:
    """What the pointer's history says was served, the earliest first.

    A release counts from the day it was activated. On a past period, where the clock is beyond all that it
    forecasts, it counts from the first date it forecasts, but not before the one that was activated earlier.

    Args:
        releases: the data set's releases.
        since: releases that forecast nothing from this date on are left out, as are those that are no longer
            kept.
        promised_since: the backtests of those that do not reach this date are not read.
    """
    found: list[Activation] = []
    there = set(releases.ids())
    for entry in releases.history():
        if entry.id not in there:
            continue
        release = releases.get(entry.id)
        cutoff = pd.Timestamp(str(release.about["cutoff"]))
        folder = releases.path(release)
        forecasts = parquet.read_frame(folder / "forecasts.parquet")
        last = pd.Timestamp(forecasts["ds"].max())
        if last < since:
            continue
        clock = pd.Timestamp(entry.at).tz_localize(None).normalize()
        at = clock if cutoff < clock <= last else cutoff + pd.Timedelta(days=1)
        at = max(at, found[-1].at) if found else at
        backtest = parquet.read_frame(folder / "backtest.parquet") if last >= promised_since else None
        found.append(Activation(entry.id, at, forecasts, backtest))
    return found


def served_rows(activations: Sequence[Activation], panel: Panel) -> pd.DataFrame:
    """The forecast that was served for each series and date, beside the actual.

    A date is served by the release that was activated last on or before it and forecasts it. Series that the
    panel does not have are left out.

    Args:
        activations: in the order of their activation.
        panel: the panel with the actuals; dates it does not know have NaN `y`.

    Returns:
        `SERVED_COLUMNS`: `naive` is the seasonal naive of the same cutoff; `promise` and `naive_promise` are
        the mean squared log errors that the backtest had for that series, adjusted to the day ahead, of the
        release and of the naive (NaN without a backtest).
    """
    parts = []
    ordered = sorted(enumerate(activations), key=lambda pair: (pair[1].at, pair[0]))
    for place, (_, activation) in enumerate(ordered):
        end = ordered[place + 1][1].at if place + 1 < len(ordered) else None
        rows = activation.forecasts
        rows = rows[(rows["ds"] >= activation.at) & ((rows["ds"] < end) if end is not None else True)]
        rows = rows[rows["unique_id"].isin(panel.ids)]
        if len(rows):
            parts.append(_beside(rows, activation, panel))
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in SERVED_COLUMNS})
    return pd.concat(parts, ignore_index=True)


def _beside(rows: pd.DataFrame, activation: Activation, panel: Panel) -> pd.DataFrame:
    check_columns(rows, ["unique_id", "ds", "h", "yhat", *QUANTILE_COLUMNS], where=activation.release)
    series = pd.Index(panel.ids).get_indexer(pd.Index(rows["unique_id"]))
    ds = pd.DatetimeIndex(rows["ds"])
    days = panel.dates.get_indexer(ds)
    ahead = rows["h"].to_numpy(dtype=np.int64)
    y = np.where((days >= 0) & (days < panel.n_history), panel.y[series, days], np.nan)
    first = int(np.argmin(ahead))
    cutoff = ds[first] - ahead[first] * panel.offset
    promise, naive_promise = _promises(activation.backtest, rows["unique_id"], ahead)
    return rows.assign(
        cutoff=cutoff,
        release=activation.release,
        y=y,
        naive=_naive(panel, cutoff, int(ahead.max()), series, ahead),
        promise=promise,
        naive_promise=naive_promise,
    )[list(SERVED_COLUMNS)]


def _naive(panel: Panel, cutoff: pd.Timestamp, horizon: int, series: Rows, ahead: Rows) -> Floats:
    """(rows,) the seasonal naive as of the cutoff; NaN where the panel does not hold the cutoff."""
    if cutoff not in panel.dates or cutoff > panel.cutoff:
        return np.full(len(series), np.nan)
    since = panel.n_history - int(panel.dates.searchsorted(cutoff)) - 1
    known = panel.last(since + 2 * panel.frequency.season).at(cutoff, horizon)
    point = SeasonalNaive(NaiveConfig()).forecast(known).point
    there = ahead <= point.shape[1]
    return np.asarray(np.where(there, point[series, np.where(there, ahead, 1) - 1], np.nan))


def _promises(backtest: pd.DataFrame | None, ids: pd.Series, ahead: Rows) -> tuple[Floats, Floats]:
    """Expected squared log error of each row, of the release and of the naive: the series', times what the
    day ahead is to all days. One fold says little about one series; means over segments are what counts."""
    if backtest is None:
        return np.full(len(ids), np.nan), np.full(len(ids), np.nan)
    out = []
    for model in (BLEND, NAIVE):
        rows = backtest[(backtest["model"] == model) & backtest["y"].notna()]
        errors = pd.Series(
            squared_log_error(rows["y"].to_numpy(np.float64), rows["yhat"].to_numpy(np.float64)),
            index=rows.index,
        )
        overall = float(errors.mean()) if len(errors) else np.nan
        by_series = errors.groupby(rows["unique_id"].astype(str)).mean()
        by_ahead = errors.groupby(rows["h"].to_numpy()).mean() / (overall or np.nan)
        mine = by_series.reindex(ids.astype(str)).fillna(overall).to_numpy()
        out.append(mine * by_ahead.reindex(ahead).fillna(1.0).to_numpy())
    return out[0], out[1]
