"""ARIMA per series: what a planner would notice of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from storecast.errors import ModelError
from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext, Forecaster
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Floats, Panel
from storecast.synthetic import make_panel

QUICK = ArimaConfig(window=300, refine=0)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=3, n_families=3, n_days=420)


@pytest.fixture(scope="module")
def past(panel: Panel) -> Panel:
    return panel.at(panel.dates[panel.n_history - 17], 16)


@pytest.fixture(scope="module")
def fitted(past: Panel) -> Arima:
    model = Arima(QUICK)
    model.fit(past, FitContext())
    return model


def rmsle(actual: Floats, point: Floats) -> float:
    return float(np.sqrt(np.mean((np.log1p(point) - np.log1p(actual)) ** 2)))


def one_series(values: Floats, horizon: int = 7, freq: str = "D") -> Panel:
    dates = pd.date_range("2023-01-01", periods=len(values) + horizon, freq=freq)
    y = np.concatenate([values, np.full(horizon, np.nan)])[None, :]
    ids = np.array(["a"], dtype=object)
    static = pd.DataFrame({"store": ["1"]}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids, dates, y, static, freq, dates[len(values) - 1])


def test_it_is_a_forecaster() -> None:
    assert isinstance(Arima(QUICK), Forecaster)


def test_it_beats_the_seasonal_naive(panel: Panel, past: Panel, fitted: Arima) -> None:
    actual = panel.actuals(past.cutoff, 16)
    naive = SeasonalNaive(NaiveConfig()).forecast(past)
    assert rmsle(actual, fitted.forecast(past).point) < 0.9 * rmsle(actual, naive.point)


def test_quantiles_rise_and_the_interval_holds_most_of_what_came(
    panel: Panel, past: Panel, fitted: Arima
) -> None:
    forecast = fitted.forecast(past)
    actual = panel.actuals(past.cutoff, 16)
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    inside = (actual >= forecast.quantiles[..., 0]) & (actual <= forecast.quantiles[..., -1])
    assert inside.mean() > 0.85


def test_a_promotion_raises_the_forecast_of_that_day_only(past: Panel, fitted: Arima) -> None:
    planned = past.known["onpromotion"].copy()
    planned[:, past.n_history + 3] = 10.0
    none = past.known["onpromotion"].copy()
    none[:, past.n_history + 3] = 0.0
    row = int(np.flatnonzero(past.ids == "1|GROCERY")[0])
    with_promotion = fitted.forecast(past.with_known("onpromotion", planned)).point[row]
    without = fitted.forecast(past.with_known("onpromotion", none)).point[row]
    assert with_promotion[3] > 1.1 * without[3]
    np.testing.assert_allclose(np.delete(with_promotion, 3), np.delete(without, 3))


def test_a_later_cutoff_is_forecast_without_a_new_fit(panel: Panel, fitted: Arima) -> None:
    forecast = fitted.forecast(panel)
    assert list(forecast.dates) == list(panel.future_dates)
    assert np.isfinite(forecast.quantiles).all()


def test_the_level_follows_a_shift_seen_after_the_fit(fitted: Arima, panel: Panel) -> None:
    y = panel.y.copy()
    y[:, panel.n_history - 16 : panel.n_history] *= 3
    shifted = fitted.forecast(replace(panel, y=y)).point
    assert np.median(shifted / np.maximum(fitted.forecast(panel).point, 1e-9)) > 1.5


def test_a_promotion_that_lasts_lifts_the_forecast_as_it_lifted_last_years_sales() -> None:
    days, ahead = 400, 16
    rng = np.random.default_rng(1)
    dates = pd.date_range("2020-01-01", periods=days + ahead, freq="D")
    promoted = np.zeros((1, len(dates)))
    promoted[0, 150:200] = promoted[0, days - 2 :] = 10.0
    levels = 2.0 + 1.2 * np.log1p(promoted) + rng.normal(0, 0.3, promoted.shape)
    panel = Panel(
        ids=np.array(["a"], dtype=object),
        dates=dates,
        y=np.where(np.arange(len(dates)) < days, np.expm1(levels), np.nan),
        static=pd.DataFrame(index=["a"]),
        freq="D",
        cutoff=dates[days - 1],
        known={"promotion": promoted},
    )
    model = Arima(QUICK)
    model.fit(panel, FitContext())
    expected = 2.0 + 1.2 * np.log1p(10.0)
    assert np.log1p(model.forecast(panel).point).mean() == pytest.approx(expected, abs=0.5)


def test_nothing_after_the_cutoff_is_seen(panel: Panel, past: Panel, fitted: Arima) -> None:
    spoilt = replace(panel, y=np.where(np.arange(panel.y.shape[1]) >= past.n_history, 1e6, panel.y))
    again = Arima(QUICK)
    again.fit(spoilt.at(past.cutoff, 16), FitContext())
    np.testing.assert_array_equal(
        again.forecast(spoilt.at(past.cutoff, 16)).point, fitted.forecast(past).point
    )


def test_a_saved_model_forecasts_the_same_and_saves_the_same_bytes(
    past: Panel, fitted: Arima, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fitted.save(tmp_path / "a")
    loaded = Arima.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    np.testing.assert_array_equal(loaded.forecast(past).quantiles, fitted.forecast(past).quantiles)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["arima.arrow"]
    assert (tmp_path / "a/arima.arrow").read_bytes() == (tmp_path / "b/arima.arrow").read_bytes()


def test_a_series_is_forecast_the_same_whatever_stands_beside_it(past: Panel, fitted: Arima) -> None:
    alone = Arima(QUICK)
    alone.fit(past.select(slice(2, 3)), FitContext())
    expected = fitted.forecast(past).point[2:3]
    np.testing.assert_array_equal(alone.forecast(past.select(slice(2, 3))).point, expected)
    np.testing.assert_array_equal(fitted.forecast(past.select(slice(2, 3))).point, expected)


def test_orders_chosen_at_an_earlier_cutoff_are_kept(panel: Panel, past: Panel) -> None:
    first = Arima(QUICK.model_copy(update={"orders": ((0, 2),)}))
    chosen = first.fit(past, FitContext()).info["orders"]["(0,1,2)"]
    later = Arima(QUICK.model_copy(update={"orders": ((0, 1),)}))
    assert later.fit(panel, FitContext(previous=first)).info["orders"]["(0,1,2)"] == chosen


def test_the_order_fits_the_series() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.2, 400)
    walk = 4 + np.cumsum(noise)  # its differences are white: any moving average is near zero
    steady = 4 + noise  # its differences are a moving average near -1
    spreads = []
    for logs in (walk - walk.min() + 1, steady):
        panel = one_series(np.expm1(logs), horizon=16)
        model = Arima(QUICK)
        model.fit(panel, FitContext())
        q = np.log1p(model.forecast(panel).quantiles[0])
        spreads.append((q[15, 3] - q[15, 1]) / (q[0, 3] - q[0, 1]))
    assert spreads[0] > 2.5
    assert spreads[1] < 1.6


def test_prices_that_wander_are_a_random_walk_and_stay_where_they_are(tmp_path: Path) -> None:
    panel = one_series(weeks_of(0.05, 0.0, 200), 8, "W-SUN")
    model = Arima(ArimaConfig())
    assert model.fit(panel, FitContext()).info["orders"] == {"(0,1,0)": 1}
    np.testing.assert_allclose(model.forecast(panel).point, np.repeat(panel.history[:, -1:], 8, axis=1))
    model.save(tmp_path)
    again = Arima(ArimaConfig())
    again.fit(panel, FitContext(previous=Arima.load(tmp_path)))
    np.testing.assert_allclose(again.forecast(panel).point, model.forecast(panel).point)


def test_a_short_series_falls_back_and_is_named() -> None:
    panel = one_series(np.r_[np.zeros(200), np.tile([5.0, 6.0, 8.0, 4.0], 5)])
    model = Arima(QUICK)
    report = model.fit(panel, FitContext())
    assert [f.unique_id for f in report.fallbacks] == ["a"]
    assert "on sale for 20 dates" in report.fallbacks[0].reason
    assert "smoothing" in report.fallbacks[0].used
    assert 3 < model.forecast(panel).point.mean() < 9


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_a_constant_series_stays_constant_and_is_named(value: float) -> None:
    panel = one_series(np.full(120, value))
    model = Arima(QUICK)
    report = model.fit(panel, FitContext())
    np.testing.assert_allclose(model.forecast(panel).point, value)
    assert len(report.fallbacks) == 1


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_a_series_of_few_dates_is_forecast(length: int) -> None:
    panel = one_series(np.arange(1.0, length + 1))
    model = Arima(QUICK)
    model.fit(panel, FitContext())
    assert np.isfinite(model.forecast(panel).quantiles).all()


def test_a_series_that_has_ended_is_forecast_as_zero() -> None:
    rng = np.random.default_rng(0)
    panel = one_series(np.r_[rng.poisson(20, 200).astype(float), np.zeros(40)])
    model = Arima(QUICK)
    model.fit(panel, FitContext())
    assert model.forecast(panel).point.max() == 0.0


def test_missing_days_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson(50, 200).astype(float)
    values[[0, 50, 51, 199]] = np.nan
    panel = one_series(values)
    model = Arima(QUICK)
    model.fit(panel, FitContext())
    np.testing.assert_allclose(model.forecast(panel).point, 50, rtol=0.2)


def test_a_day_on_which_a_store_closes_every_year_is_forecast_as_zero() -> None:
    whole = make_panel(n_stores=1, n_families=2, n_days=800).select(slice(0, 1))
    panel = whole.at("2022-12-20", 16)
    model = Arima(QUICK)
    model.fit(panel, FitContext())
    forecast = pd.Series(model.forecast(panel).point[0], index=panel.future_dates)
    assert forecast["2022-12-25"] == 0.0
    assert forecast["2023-01-01"] == 0.0
    assert forecast["2022-12-28"] > 1.0


def test_a_weekly_panel_is_forecast() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(150)
    panel = one_series(rng.poisson(100 * (1 + 0.5 * np.sin(2 * np.pi * t / 52.18))).astype(float), 8, "W-SUN")
    model = Arima(QUICK)
    report = model.fit(panel, FitContext())
    assert report.fallbacks == ()
    actual = 100 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(150, 158) / 52.18))
    np.testing.assert_allclose(model.forecast(panel).point[0], actual, rtol=0.35)


def weeks_of(walk: float, season: float, n: int) -> Floats:
    """Weekly sales whose logs wander by `walk` a week around a season of the year of size `season`."""
    rng = np.random.default_rng(3)
    return np.exp(4 + season * np.sin(2 * np.pi * np.arange(n) / 52.18) + np.cumsum(rng.normal(0, walk, n)))


def without_year(panel: Panel) -> Floats:
    model = Arima(ArimaConfig(window=300, year_order=0))
    model.fit(panel, FitContext())
    return model.forecast(panel).point


def test_a_season_of_the_year_is_forecast_where_a_series_shows_it() -> None:
    n, horizon = 156, 13
    values = weeks_of(0.02, 0.5, n + horizon)
    panel = one_series(values[:n], horizon, "W-SUN")
    model = Arima(ArimaConfig())
    model.fit(panel, FitContext())
    error = rmsle(values[None, n:], model.forecast(panel).point)
    assert error < 0.4 * rmsle(values[None, n:], without_year(panel))


@pytest.mark.parametrize("values", [weeks_of(0.05, 0.0, 104), weeks_of(0.02, 0.5, 40)])
def test_a_series_that_wanders_or_is_too_short_has_no_season_of_the_year(values: Floats) -> None:
    panel = one_series(values, 8, "W-SUN")
    model = Arima(ArimaConfig())
    model.fit(panel, FitContext())
    np.testing.assert_allclose(model.forecast(panel).point, without_year(panel), rtol=0.02)


def test_an_unknown_series_is_an_error_that_names_it(past: Panel, fitted: Arima) -> None:
    stranger = replace(past, ids=np.array(["9|NEW", *past.ids[1:]], dtype=object))
    with pytest.raises(ModelError, match=r"9\|NEW"):
        fitted.forecast(stranger)


def test_other_covariates_than_at_the_fit_are_an_error(past: Panel, fitted: Arima) -> None:
    with pytest.raises(ModelError, match="onpromotion"):
        fitted.forecast(replace(past, known={}))


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "arima.arrow").write_bytes(b"no arrow")
    with pytest.raises(ModelError, match=r"arima\.arrow"):
        Arima.load(tmp_path)


def test_progress_reaches_the_number_of_series(past: Panel) -> None:
    seen: list[tuple[int, int]] = []
    Arima(QUICK).fit(past, FitContext(progress=lambda done, total: seen.append((done, total))))
    assert seen[-1] == (past.n_series, past.n_series)
