"""Scores of forecasts, from the long cross-validation table to one row per group.

The table ("cv table") has one row per model, fold, series and date: `unique_id, ds, cutoff, h, model, y,
yhat` and one `q<level>` column per quantile. Rows whose `y` is NaN are not scored. All means are pooled over
rows: the RMSLE of a family is the root of the mean over its rows, never a mean of per-series roots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.models.base import QUANTILES, quantile_column
from storecast.panel import Floats, Panel

QUANTILE_COLUMNS = tuple(quantile_column(level) for level in QUANTILES)
INTERVALS = ((80, "q0.1", "q0.9"), (95, "q0.025", "q0.975"))
"""The intervals every forecast carries: nominal per cent, lower and upper column."""

KEYS = ("cutoff", "unique_id", "ds")
"""What tells a model's rows of the cv table apart."""
CV_COLUMNS = ("unique_id", "ds", "cutoff", "h", "model", "y", "yhat", *QUANTILE_COLUMNS)
SERIES_AT_ONCE = 1024
"""Series whose whole history is worked on at a time: what that takes does not grow with the panel."""
METRICS = (
    *("rmsle", "mae", "wape", "mase", "bias", "quantile_loss"),
    *("coverage_80", "width_80", "coverage_95", "width_95"),
)


def check_columns(frame: pd.DataFrame, columns: Sequence[str], where: str = "cv table") -> None:
    """Raise a DataError that names the columns which are not there."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(
            f"columns are missing: {', '.join(missing)}",
            where=where,
            expected=", ".join(columns),
            found=", ".join(map(str, frame.columns)),
        )


def score(frame: pd.DataFrame, by: Sequence[str], scale: pd.Series | None = None) -> pd.DataFrame:
    """Every metric of each group, pooled over the group's rows.

    Args:
        frame: the cv table, with the `by` columns. Rows with NaN `y` are ignored.
        by: grouping columns, e.g. ["model"] or ["model", "store_nbr"].
        scale: in-sample seasonal naive MAE by unique_id (see `naive_scale`), for MASE; None leaves it NaN.

    Returns:
        One row per group, sorted: the `by` columns; `n` (rows); `rmsle` (log scale); `mae` and `width_*`
        (units of sales); `wape`, `bias`, `quantile_loss`, `coverage_*` (shares, 1 = 100 %); `mase`;
        `left_out` (series without a scale, which `mase` does not cover). A ratio whose denominator is 0 is
        NaN.

    Raises:
        DataError: a column is missing.
    """
    check_columns(frame, [*by, "unique_id", "y", "yhat", *QUANTILE_COLUMNS])
    known = _known(frame)
    codes, groups = _groups(known, by)
    size = len(groups)
    rows = np.bincount(codes, minlength=size).astype(np.float64)

    def total(values: Floats) -> Floats:
        return _totals(codes, values, size)

    y, yhat = _floats(known, "y"), _floats(known, "yhat")
    absolute, volume = np.abs(yhat - y), total(np.abs(y))
    out = groups.assign(n=rows.astype(np.int64))
    out["rmsle"] = np.sqrt(total(squared_log_error(y, yhat)) / rows)
    out["mae"] = total(absolute) / rows
    out["wape"] = _ratio(total(absolute), volume)
    out["mase"], out["left_out"] = _mase(known, absolute, codes, size, scale)
    out["bias"] = _ratio(total(yhat - y), total(y))
    out["quantile_loss"] = _ratio(total(_mean_pinball(known, y)), volume)
    for percent, low, high in INTERVALS:
        lower, upper = _floats(known, low), _floats(known, high)
        out[f"coverage_{percent}"] = total(((lower <= y) & (y <= upper)).astype(np.float64)) / rows
        out[f"width_{percent}"] = total(upper - lower) / rows
    return out[[*by, "n", *METRICS, "left_out"]]


def rmsle(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Pooled root mean squared logarithmic error of each group: the `by` columns, `n`, `rmsle`.

    The same figure as in `score`, without the rest: for the gate and for weights.
    """
    check_columns(frame, [*by, "y", "yhat"])
    known = _known(frame)
    codes, groups = _groups(known, by)
    rows = np.bincount(codes, minlength=len(groups))
    errors = squared_log_error(_floats(known, "y"), _floats(known, "yhat"))
    means = np.bincount(codes, weights=errors, minlength=len(groups)) / rows
    return groups.assign(n=rows, rmsle=np.sqrt(means))


def squared_log_error(y: Floats, yhat: Floats) -> Floats:
    """(log(1+yhat) - log(1+y))², the loss of Kaggle's Store Sales; forecasts below 0 count as 0."""
    errors: Floats = np.log1p(np.maximum(yhat, 0.0)) - np.log1p(np.maximum(y, 0.0))
    return errors**2


def pinball(y: Floats, quantile: Floats, level: float) -> Floats:
    """Quantile loss max(level·(y - q), (level - 1)·(y - q)) (Koenker & Bassett 1978), in units of y."""
    below = y - quantile
    return np.maximum(level * below, (level - 1) * below)


def naive_scale(panel: Panel) -> pd.Series:
    """In-sample mean absolute error of the seasonal naive per series: MASE's denominator.

    Source: Hyndman & Koehler (2006), "Another look at measures of forecast accuracy". The season is 7 days,
        or 52 weeks where the history holds two such years, else 1. Dates before a series' first sale do not
        count.

    Returns:
        Series by unique_id, in units of sales; NaN where the history is shorter than a season and a date.
    """
    season = panel.frequency.season if panel.n_history >= 2 * panel.frequency.season else 1
    parts = range(0, panel.n_series, SERIES_AT_ONCE)
    scales = [_naive_errors(panel.select(slice(at, at + SERIES_AT_ONCE)), season) for at in parts]
    return pd.Series(np.concatenate([[], *scales]), index=pd.Index(panel.ids, name="unique_id"))


def _naive_errors(panel: Panel, season: int) -> Floats:
    """(n,) mean absolute error of repeating the season before; NaN where there is nothing to compare."""
    history = panel.history
    started = np.arange(panel.n_history)[None, :] >= panel.first_sale[:, None]
    errors = np.abs(history[:, season:] - history[:, :-season])
    valid = started[:, :-season] & np.isfinite(errors)
    sums = np.where(valid, errors, 0.0).sum(axis=1)
    return _ratio(sums, valid.sum(axis=1).astype(np.float64))


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a y; the frame itself, not a copy, where that is all."""
    known = frame["y"].notna().to_numpy()
    return frame if known.all() else frame.loc[known]


def _mean_pinball(frame: pd.DataFrame, y: Floats) -> Floats:
    """Twice the pinball loss, mean over the levels; over Σ|y| it is GluonTS's `mean_wQuantileLoss`.

    At the median alone it would equal the WAPE of the median.
    """
    losses = [
        pinball(y, _floats(frame, name), q) for q, name in zip(QUANTILES, QUANTILE_COLUMNS, strict=True)
    ]
    return 2 * np.asarray(np.mean(losses, axis=0))


def _mase(
    frame: pd.DataFrame, absolute: Floats, codes: NDArray[np.intp], size: int, scale: pd.Series | None
) -> tuple[Floats, NDArray[np.int64]]:
    """Mean of |error| / scale per group over series with a scale, and how many series have none."""
    if scale is None:
        return np.full(size, np.nan), np.zeros(size, dtype=np.int64)
    series, ids = pd.factorize(frame["unique_id"])
    per_series = scale.reindex(ids).to_numpy(dtype=np.float64)
    row_scale = per_series[series]
    usable = row_scale > 0
    scaled = np.divide(absolute, row_scale, out=np.zeros_like(absolute), where=usable)
    rows = _totals(codes, usable.astype(np.float64), size)
    without = np.unique(codes[~usable] * np.int64(max(len(ids), 1)) + series[~usable])
    left_out = np.bincount(without // max(len(ids), 1), minlength=size)
    return _ratio(_totals(codes, scaled, size), rows), left_out


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """Group number of each row, and one row of `by` values per group, sorted."""
    if not by:
        return np.zeros(len(frame), dtype=np.intp), pd.DataFrame(index=range(min(len(frame), 1)))
    code = np.zeros(len(frame), dtype=np.int64)
    for name in by:
        part, values = pd.factorize(frame[name], sort=True)
        code = code * (len(values) + 1) + part
    found, first, codes = np.unique(code, return_index=True, return_inverse=True)
    del found
    return codes, frame[list(by)].iloc[first].reset_index(drop=True)


def _totals(codes: NDArray[np.intp], values: Floats, size: int) -> Floats:
    return np.bincount(codes, weights=values, minlength=size).astype(np.float64)


def _floats(frame: pd.DataFrame, column: str) -> Floats:
    return frame[column].to_numpy(dtype=np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0))
