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
from storecast.store import uri as uris
from storecast.store.releases import Release, ReleaseStore
from storecast.training_config import NAIVE

Rows = NDArray[np.int64]
FORECAST_COLUMNS = ("unique_id", "ds", "h", "yhat", *QUANTILE_COLUMNS)
BACKTEST_COLUMNS = ("unique_id", "h", "model", "y", "yhat")
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


@dataclass(frozen=True)
class _Span:
    """From when a release counts, and the last date that it forecasts."""

    release: Release
    at: pd.Timestamp
    last: pd.Timestamp


def activations_of(
    releases: ReleaseStore, offset: pd.offsets.BaseOffset, since: pd.Timestamp, promised_since: pd.Timestamp
) -> list[Activation]:
    """What the pointer's history says was served, the earliest first: rows of other dates are left out.

    A release counts from the day it was activated. On a past period, where the clock is beyond all that it
    forecasts, it counts from the first date it forecasts, but not before the one that was activated earlier.

    Args:
        releases: the data set's releases.
        offset: from a date to the next.
        since: releases that were not served from this date on are not read, nor are those that are no longer
            kept.
        promised_since: the backtests of those that were not served from this date on are not read.
    """
    spans = _spans(releases, offset, since)
    ends = [*(span.at for span in spans[1:]), pd.Timestamp.max]
    backtests: dict[str, pd.DataFrame] = {}
    found: list[Activation] = []
    for span, end in zip(spans, ends, strict=True):
        until = min(end, span.last + offset)
        if until <= max(span.at, since):
            continue
        rows = _frame(span.release, "forecasts.parquet", FORECAST_COLUMNS)
        rows = rows[(rows["ds"] >= span.at) & (rows["ds"] < until)]
        backtest = None
        if until > promised_since:
            same = str(span.release.about["evaluation"])  # releases of one model have the same backtest
            if same not in backtests:
                backtests[same] = _frame(span.release, "backtest.parquet", BACKTEST_COLUMNS)
            backtest = backtests[same]
        found.append(Activation(span.release.id, span.at, rows, backtest))
    return found


def _spans(releases: ReleaseStore, offset: pd.offsets.BaseOffset, since: pd.Timestamp) -> list[_Span]:
    """When each release that the pointer named counted, without those that forecast nothing since a date."""
    spans: list[_Span] = []
    there = set(releases.ids())
    for entry in releases.history():
        if entry.id not in there:
            continue
        release = releases.get(entry.id)
        cutoff = pd.Timestamp(str(release.about["cutoff"]))
        last = cutoff + int(release.about["horizon"]) * offset
        if last < since:
            continue
        clock = pd.Timestamp(entry.at).tz_localize(None).normalize()
        at = clock if cutoff < clock <= last else cutoff + pd.Timedelta(days=1)
        spans.append(_Span(release, max(at, spans[-1].at) if spans else at, last))
    return spans


def _frame(release: Release, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a table of a release; nothing else of it is fetched."""
    filesystem, path = uris.filesystem(uris.join(release.uri, name))
    with filesystem.open(path, "rb") as file:
        frame: pd.DataFrame = parquet.read_table(file, columns).to_pandas()
    return frame


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
    check_columns(rows, list(FORECAST_COLUMNS), where=activation.release)
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
