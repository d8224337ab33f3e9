"""The seasonal naive repeats what was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from storecast.models.base import FitContext, Forecaster
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.synthetic import make_panel


def weekly_panel(values: list[float], horizon: int) -> Panel:
    dates = pd.date_range("2020-01-05", periods=len(values) + horizon, freq="W-SUN")
    y = np.array([*values, *[np.nan] * horizon])[None, :]
    ids = np.array(["a"], dtype=object)
    static = pd.DataFrame({"store": ["1"]}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids, dates, y, static, "W-SUN", dates[len(values) - 1])


def test_it_is_a_forecaster() -> None:
    assert isinstance(SeasonalNaive(NaiveConfig()), Forecaster)


def test_each_day_is_forecast_as_the_same_weekday_of_the_last_week() -> None:
    panel = make_panel(n_stores=2, n_families=2, n_days=100)
    week = panel.history[:, -7:]
    expected = np.concatenate([week, week, week[:, :2]], axis=1)
    np.testing.assert_allclose(SeasonalNaive(NaiveConfig()).forecast(panel).point, expected)


def test_a_weekly_panel_repeats_last_year() -> None:
    values = [float(10 + t % 52) for t in range(110)]
    point = SeasonalNaive(NaiveConfig()).forecast(weekly_panel(values, 4)).point[0]
    np.testing.assert_allclose(point, values[110 - 52 : 110 - 48])


def test_a_weekly_panel_without_two_years_repeats_the_last_week() -> None:
    point = SeasonalNaive(NaiveConfig()).forecast(weekly_panel([float(t) for t in range(40)], 3)).point[0]
    np.testing.assert_allclose(point, 39.0)


def test_a_steady_series_has_a_narrow_interval_and_an_unsteady_one_a_wide_one() -> None:
    panel = make_panel(n_stores=1, n_families=2, n_days=100)
    steady = np.tile([5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0], 20)[: panel.n_history]
    y = panel.y.copy()
    y[0, : panel.n_history] = steady
    quantiles = SeasonalNaive(NaiveConfig()).forecast(replace(panel, y=y)).quantiles
    width = quantiles[:, :, -1] - quantiles[:, :, 0]
    np.testing.assert_allclose(width[0], 0.0, atol=1e-9)
    assert width[1].min() > 0


def test_the_second_week_is_less_certain_than_the_first() -> None:
    forecast = SeasonalNaive(NaiveConfig()).forecast(make_panel(n_stores=1, n_families=1, n_days=100))
    spread = np.log1p(forecast.quantiles[0, :, -1]) - np.log1p(forecast.point[0])
    assert spread[7] > spread[0]


@given(days=st.integers(1, 30), horizon=st.integers(1, 20), missing=st.booleans())
def test_any_length_of_history_gives_a_finite_forecast(days: int, horizon: int, missing: bool) -> None:
    values = np.arange(1.0, days + 1)
    if missing:
        values[days // 2] = np.nan
    dates = pd.date_range("2023-01-01", periods=days + horizon)
    y = np.concatenate([values, np.full(horizon, np.nan)])[None, :]
    ids = np.array(["a"], dtype=object)
    static = pd.DataFrame({"store": ["1"]}, index=pd.Index(ids, name="unique_id"))
    panel = Panel(ids, dates, y, static, "D", dates[days - 1])
    forecast = SeasonalNaive(NaiveConfig()).forecast(panel)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    model = SeasonalNaive(NaiveConfig(seasons=4))
    model.fit(make_panel(n_stores=1, n_families=1, n_days=60), FitContext())
    model.save(tmp_path)
    assert SeasonalNaive.load(tmp_path).config.seasons == 4


def test_a_day_that_was_not_observed_is_no_day_without_sales() -> None:
    panel = make_panel(n_stores=1, n_families=2, n_days=100)
    y = np.where(np.isfinite(panel.y), 100.0, np.nan)
    y[0, panel.n_history - 4] = np.nan
    forecast = SeasonalNaive(NaiveConfig()).forecast(replace(panel, y=y))
    np.testing.assert_allclose(forecast.quantiles, 100.0)


def test_a_series_that_began_late_is_as_sure_as_its_own_days_say() -> None:
    panel = make_panel(n_stores=1, n_families=2, n_days=100)
    y = np.where(np.isfinite(panel.y), 100.0, np.nan)
    y[0, : panel.n_history - 20] = np.nan
    np.testing.assert_allclose(SeasonalNaive(NaiveConfig()).forecast(replace(panel, y=y)).quantiles, 100.0)
