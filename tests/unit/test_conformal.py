from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cv_tables import backtest, honest_blend, small_panel, weekday_mean
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.blend import blend_rows, fit_weights
from storecast.conformal import Calibration, calibrate_folds, calibrated_blend
from storecast.errors import DataError
from storecast.metrics import QUANTILE_COLUMNS, score
from storecast.models.base import QUANTILES, Forecast

Z = np.array([-1.96, -1.2816, 0.0, 1.2816, 1.96])
HORIZON = 16


def fold(number: int, spread: float, shift: float = 0.0, n: int = 600, missing: float = 0.0) -> pd.DataFrame:
    """A fold of a heteroscedastic, zero-inflated panel; intervals are `spread` times as wide as right.

    15 % of the series never sell and have no interval width; a third sell rarely (Poisson around 0.2 to 2);
    the others are log-normal with a spread of 0.1 to 0.8 that grows over the horizon.
    """
    series = np.random.default_rng(5)
    level, sd = series.uniform(2, 7, n), series.uniform(0.1, 0.8, n)
    never, rare = np.arange(n) % 20 < 3, np.arange(n) % 20 > 13
    level[rare] = np.log1p(series.uniform(0.2, 2, rare.sum()))
    sd[rare] = 0.6
    rng = np.random.default_rng(100 + number)
    growth = np.sqrt(1 + np.arange(HORIZON) / 8)
    mean = np.repeat(level[:, None], HORIZON, axis=1)
    scale = sd[:, None] * growth
    y = np.round(np.expm1(np.maximum(mean + shift + scale * rng.standard_normal((n, HORIZON)), 0)))
    y[rare] = rng.poisson(np.expm1(mean[rare]))
    y[never], mean[never], scale[never] = 0.0, 0.0, 0.0
    y[rng.random(y.shape) < missing] = np.nan
    quantiles = np.expm1(np.maximum(mean[:, :, None] + spread * scale[:, :, None] * Z, 0))
    cutoff = pd.Timestamp("2023-01-01") + pd.Timedelta(days=HORIZON * number)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(n)], HORIZON),
            "ds": np.tile(pd.date_range(cutoff, periods=HORIZON + 1)[1:], n),
            "cutoff": cutoff,
            "h": np.tile(np.arange(1, HORIZON + 1), n),
            "model": "m",
            "y": y.ravel(),
            "yhat": np.expm1(mean).ravel(),
        }
    )
    frame[list(QUANTILE_COLUMNS)] = quantiles.reshape(-1, 5)
    return frame


def segments(n: int = 600) -> dict[str, str]:
    kind = {True: "none", False: "some"}
    return {f"s{i}": "rare" if i % 20 > 13 else kind[i % 20 < 3] for i in range(n)}


def covered(frame: pd.DataFrame, kinds: tuple[str, ...] = ("some", "rare")) -> tuple[float, float]:
    """Shares of the rows of series that sell which their intervals cover."""
    row = score(frame[frame["unique_id"].map(segments()).isin(kinds)], ["model"]).iloc[0]
    return float(row["coverage_80"]), float(row["coverage_95"])


@pytest.mark.parametrize("spread", [0.5, 0.8, 1.0, 1.6, 2.5])
def test_intervals_of_any_width_cover_a_new_fold_as_promised(spread: float) -> None:
    calibration = Calibration.fit(pd.concat([fold(0, spread), fold(1, spread)]), segments())
    after = calibration.apply_frame(fold(2, spread))
    for kinds in [("some", "rare"), ("some",)]:
        eighty, ninetyfive = covered(after, kinds)
        assert 0.79 <= eighty <= 0.84
        assert 0.93 <= ninetyfive <= 0.97


def test_zeros_that_are_certain_pay_for_nobody_elses_misses() -> None:
    folds = pd.concat([fold(0, 0.7), fold(1, 0.7)])
    sell = folds["unique_id"].map(segments()) != "none"
    with_them, without = Calibration.fit(folds, segments()), Calibration.fit(folds[sell], segments())
    some = [name for name in with_them.groups if name.startswith("some")]
    for name in some:
        np.testing.assert_allclose(with_them.groups[name], without.groups[name], rtol=0.05)


def test_a_moderate_shift_of_the_new_folds_level_keeps_coverage_in_the_band() -> None:
    calibration = Calibration.fit(pd.concat([fold(0, 0.7), fold(1, 0.7, shift=0.05)]), segments())
    eighty, ninetyfive = covered(calibration.apply_frame(fold(2, 0.7, shift=-0.1)))
    assert 0.76 <= eighty <= 0.84
    assert 0.92 <= ninetyfive <= 0.97


def test_without_calibration_the_same_intervals_do_not_cover() -> None:
    assert covered(fold(2, 0.5))[0] < 0.76
    assert covered(fold(2, 2.5))[0] > 0.84


def test_series_that_never_sell_keep_their_certain_zero() -> None:
    calibration = Calibration.fit(fold(0, 0.5), segments())
    after = calibration.apply_frame(fold(1, 0.5))
    never = after["unique_id"].map(segments()) == "none"
    assert (after.loc[never, list(QUANTILE_COLUMNS)] == 0).all(axis=None)


def test_both_ends_are_calibrated_for_themselves() -> None:
    skewed = fold(0, 1.0, shift=0.4)
    calibration = Calibration.fit(skewed)
    low, high = calibration.overall[0], calibration.overall[4]
    assert high > 1.2 > low


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.2, 4))
def test_ends_never_cross_nor_fall_below_zero_and_the_median_stays(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    calibration = Calibration.fit(fold(0, spread, n=40), segments(40))
    quantiles = np.sort(rng.gamma(1, 20, (5, HORIZON, 5)), axis=2)
    ids = np.array([f"s{i}" for i in range(3)] + ["new", "other"], dtype=object)
    before = Forecast(ids, pd.date_range("2023-03-01", periods=HORIZON), quantiles[:, :, 2], quantiles)
    after = calibration.apply(before)
    assert (np.diff(after.quantiles, axis=2) >= 0).all()
    assert (after.quantiles >= 0).all()
    np.testing.assert_array_equal(after.quantiles[:, :, 2], quantiles[:, :, 2])
    np.testing.assert_array_equal(after.point, before.point)


def test_a_forecast_and_its_frame_are_calibrated_alike() -> None:
    panel = small_panel()
    cv = backtest(panel)
    cv = cv[cv["model"] == "weekday"]
    by_series = cv.drop_duplicates("unique_id").set_index("unique_id")["volume"].astype(str).to_dict()
    calibration = Calibration.fit(cv, by_series)
    forecast = weekday_mean(panel)
    pd.testing.assert_frame_equal(
        calibration.apply(forecast).to_frame(), calibration.apply_frame(forecast.to_frame())
    )


def test_rows_without_an_actual_teach_nothing() -> None:
    whole = fold(0, 0.7, missing=0.3)
    assert Calibration.fit(whole) == Calibration.fit(whole.dropna(subset="y"))
    with pytest.raises(DataError, match="actuals"):
        Calibration.fit(whole.assign(y=np.nan))


def test_a_tiny_table_calibrates_cautiously_and_not_to_nonsense() -> None:
    calibration = Calibration.fit(fold(0, 0.7).head(3))
    assert all(0.1 <= factor <= 3 for factor in calibration.overall)


def test_several_models_at_once_are_refused() -> None:
    with pytest.raises(DataError, match="one model"):
        Calibration.fit(pd.concat([fold(0, 1), fold(0, 1).assign(model="other")]))


def test_a_calibration_survives_json() -> None:
    calibration = Calibration.fit(fold(0, 0.7), segments())
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert calibration.levels == QUANTILES


def test_a_fold_is_calibrated_without_knowing_its_actuals() -> None:
    cv = pd.concat([fold(k, 0.6) for k in range(3)], ignore_index=True)
    changed = cv.copy()
    last = (cv["cutoff"] == cv["cutoff"].max()).to_numpy()
    changed.loc[last, "y"] = 0.0
    once, again = calibrate_folds(cv, segments()), calibrate_folds(changed, segments())
    pd.testing.assert_frame_equal(once.drop(columns="y"), again.drop(columns="y"))
    first = (cv["cutoff"] == cv["cutoff"].min()).to_numpy()
    pd.testing.assert_frame_equal(once[first], cv[first])
    assert 0.76 <= covered(once[last])[0] <= 0.84


def moved(frame: pd.DataFrame, name: str, by: float) -> pd.DataFrame:
    """Another model, whose forecasts are too high by so much on the scale of log(1+y)."""
    columns = ["yhat", *QUANTILE_COLUMNS]
    logs = np.log1p(frame[columns].to_numpy())
    values = np.where(logs > 0, np.expm1(np.maximum(logs + by, 0)), 0)
    return frame.assign(model=name, **dict(zip(columns, values.T, strict=True)))


def test_a_folds_blend_is_calibrated_on_earlier_folds_blended_as_it_is_too() -> None:
    folds = [fold(k, 0.7) for k in range(2)]
    models = {"low": -0.3, "high": 0.3, "higher": 0.35}
    cv = pd.concat([moved(each, name, by) for each in folds for name, by in models.items()])
    cv = cv.assign(volume=cv["unique_id"].map(segments()))
    blend, release = calibrated_blend(cv, fit_weights(cv), segments())
    pd.testing.assert_series_equal(blend["yhat"], honest_blend(cv)["yhat"])
    eighty, ninetyfive = covered(blend[blend["cutoff"] == cv["cutoff"].max()])
    assert 0.76 <= eighty <= 0.84
    assert 0.92 <= ninetyfive <= 0.97
    new = pd.concat([moved(fold(2, 0.7), name, by) for name, by in models.items()])
    new = blend_rows(new.assign(volume=new["unique_id"].map(segments())), fit_weights(cv))
    assert 0.76 <= covered(release.apply_frame(new))[0] <= 0.84
