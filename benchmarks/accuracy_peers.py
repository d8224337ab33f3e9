"""What a run's forecasts stand beside: seasonal naive with conformal intervals, and one plain LightGBM.

Both are what their libraries give to whoever follows the documentation: statsforecast's seasonal naive with
its conformal intervals, and mlforecast's LightGBM, one for all series, on the logarithm of sales, with lags,
rolling means, the known-future and static covariates and the calendar, fed its own forecasts day by day.
"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd

from benchmarks.sample import peer_rows
from storecast.metrics import INTERVALS, QUANTILE_COLUMNS
from storecast.panel import Floats, Panel

NAIVE, LIGHTGBM = "conformal naive", "mlforecast LightGBM"
WINDOWS = 20
"""Stretches of the history by whose errors the seasonal naive's intervals are calibrated, each a horizon."""
DAYS = 900
LAGS = {7: (1, 2, 3, 4, 5, 6, 7, 14, 21, 28), 52: (1, 2, 3, 4, 8, 52)}
MEANS = (7, 28)


def conformal_naive(panel: Panel, cutoff: pd.Timestamp) -> pd.DataFrame:
    """Rows of the cv table: the seasonal naive with conformal intervals per series and step.

    A series whose history is too short for `WINDOWS` takes as many as it has; one too short for two has none.
    """
    seen = panel.at(cutoff, panel.horizon)
    histories = np.nan_to_num(seen.history)
    found = np.stack([_naive(y, panel.frequency.season, panel.horizon) for y in histories])
    return peer_rows(panel, NAIVE, cutoff, found[:, :, 0], found[:, :, 1:])


def _naive(y: Floats, season: int, horizon: int) -> Floats:
    """(H, 1 + Q) the forecast and its quantiles."""
    from statsforecast.models import SeasonalNaive
    from statsforecast.utils import ConformalIntervals

    levels = [percent for percent, _, _ in INTERVALS]
    windows = min(WINDOWS, (len(y) - season) // horizon - 1)
    intervals = ConformalIntervals(n_windows=windows, h=horizon) if windows > 1 else None
    model = SeasonalNaive(season_length=season, prediction_intervals=intervals)
    found = model.forecast(y=y, h=horizon, level=levels if intervals else None)
    columns = dict.fromkeys(("yhat", *QUANTILE_COLUMNS), found["mean"])
    for percent, low, high in INTERVALS if intervals else ():
        columns |= {low: found[f"lo-{percent}"], high: found[f"hi-{percent}"]}
    return np.maximum(np.stack(list(columns.values()), axis=1), 0.0)


def lightgbm(panel: Panel, cutoff: pd.Timestamp) -> pd.DataFrame:
    """Rows of the cv table: one LightGBM over all series, by mlforecast; it has no intervals."""
    import lightgbm as lgb
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import GlobalSklearnTransformer
    from sklearn.preprocessing import FunctionTransformer

    seen = panel.at(cutoff, panel.horizon).last(DAYS)
    frame = seen.to_frame()[["unique_id", "ds", "y", *seen.known]]
    frame = frame.merge(seen.static.astype("category"), left_on="unique_id", right_index=True)
    future = frame["ds"] > cutoff
    known = frame[~future].assign(y=frame["y"].fillna(0.0))
    daily = panel.frequency.daily
    booster = lgb.LGBMRegressor(
        n_estimators=600,
        learning_rate=0.05,
        num_leaves=63,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.5,
        random_state=0,
        n_jobs=len(os.sched_getaffinity(0)),
        verbose=-1,
    )
    model = MLForecast(
        models={LIGHTGBM: booster},
        freq=panel.freq,
        lags=list(LAGS[panel.frequency.season]),
        lag_transforms={1: [RollingMean(size) for size in MEANS]},
        date_features=["dayofweek", "day", "month"] if daily else ["month"],
        target_transforms=[GlobalSklearnTransformer(FunctionTransformer(np.log1p, np.expm1))],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(known, static_features=[str(name) for name in seen.static.columns])
        found = model.predict(panel.horizon, X_df=frame.loc[future, ["unique_id", "ds", *seen.known]])
    wide = found.pivot(index="unique_id", columns="ds", values=LIGHTGBM).loc[list(panel.ids)]
    return peer_rows(panel, LIGHTGBM, cutoff, np.maximum(wide.to_numpy(), 0.0))
