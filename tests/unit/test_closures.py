"""Days on which a shop never sells are seen in its history, and do not disturb what is said of the others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext
from storecast.models.closures import closures
from storecast.models.gaps import stand_ins
from storecast.models.prophet import Prophet, ProphetConfig
from storecast.panel import Floats, Panel

HORIZON = 14
SUNDAY = 6


def shops(days: int = 301, n: int = 4, seed: int = 3) -> Panel:
    """Shops that sell every day, up to a Sunday."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(end="2024-06-30", periods=days).append(pd.date_range("2024-07-01", periods=HORIZON))
    week = np.array([0.2, 0.0, -0.1, 0.0, 0.1, 0.3, 0.1])[dates.day_of_week]
    level = rng.uniform(4, 7, (n, 1)) + np.cumsum(rng.normal(0, 0.01, (n, len(dates))), axis=1)
    y = np.round(np.exp(level + week + rng.normal(0, 0.05, level.shape)))
    y[:, days:] = np.nan
    ids = np.array([f"s{i}" for i in range(n)], dtype=object)
    static = pd.DataFrame({"store": ids}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids, dates, y, static, "D", dates[days - 1])


def closed_where(panel: Panel, closed: np.ndarray, known: dict[str, Floats] | None = None) -> Panel:
    """The panel with no sales on some days (n or 1, T)."""
    y = np.where(closed & np.isfinite(panel.y), 0.0, panel.y)
    return replace(panel, y=y, known=known or {})


def sundays(panel: Panel) -> np.ndarray:
    return np.broadcast_to(panel.dates.day_of_week == SUNDAY, panel.y.shape)


def test_a_shop_that_never_sold_on_a_sunday_is_closed_on_those_to_come() -> None:
    panel = closed_where(shops(), sundays(shops()))
    np.testing.assert_array_equal(closures(panel).days, sundays(panel))


def test_one_that_has_sold_on_one_sunday_is_not() -> None:
    panel = closed_where(shops(), sundays(shops()))
    panel.y[0, np.flatnonzero(sundays(panel)[0])[5]] = 9.0
    assert not closures(panel).days[0].any()
    assert closures(panel).days[1:].any()


def test_a_covariate_that_is_zero_where_nothing_sells_tells_closed_days_instead_of_the_calendar() -> None:
    panel = shops()
    is_open = ~sundays(panel)
    is_open[:, [40, 41, 42, 200]] = False
    future_sunday = panel.n_history + 6
    assert sundays(panel)[0, future_sunday]
    is_open[1, future_sunday] = True  # a Sunday on which the second shop will open
    found = closures(closed_where(panel, ~is_open, {"open": is_open.astype(float)}))
    np.testing.assert_array_equal(found.days, ~is_open)
    assert found.by["open"].all()


def test_a_promotion_without_which_shops_sell_as_well_closes_nothing() -> None:
    panel = shops()
    promoted = np.zeros(panel.y.shape)
    promoted[:, ::9] = 1.0
    found = closures(replace(panel, known={"promotion": promoted}))
    assert not found.days.any()
    assert not found.by["promotion"].any()


@settings(max_examples=30)
@given(chance=st.floats(0.0, 0.1), seed=st.integers(0, 10_000))
def test_what_rarely_sells_is_not_called_closed(chance: float, seed: int) -> None:
    panel = shops(days=210)
    rng = np.random.default_rng(seed)
    rare = closed_where(panel, rng.random(panel.y.shape) >= chance)
    weekdays = pd.Series(closures(rare).days.mean(axis=0)).groupby(panel.dates.day_of_week).mean()
    assert weekdays.max() <= 0.25, "of four series one at most, by chance"


def test_a_missing_day_is_stood_for_by_that_of_a_week_before_or_if_none_is_known_the_day_before() -> None:
    missing = np.zeros((2, 30), dtype=bool)
    missing[0, 6::7] = True  # every Sunday
    missing[1, 14:24] = True  # ten days in a row
    source = stand_ins(missing, 7)
    assert source[0, 6::7].tolist() == [5, 12, 19, 26]
    assert source[1, 14:24].tolist() == [7, 8, 9, 10, 11, 12, 13, 7, 8, 9]
    assert (source[~missing] == np.nonzero(~missing)[1]).all()
    assert stand_ins(np.ones((1, 3), dtype=bool), 7).tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("model", [Arima(ArimaConfig(refine=0)), Prophet(ProphetConfig(window=300))])
@pytest.mark.parametrize("flag", [False, True])
def test_closed_sundays_leave_the_forecasts_of_the_other_days_as_they_are(
    model: Arima | Prophet, flag: bool
) -> None:
    whole = shops()
    off = sundays(whole)
    panel = closed_where(whole, off, {"open": (~off).astype(float)} if flag else {})
    model.fit(whole, FitContext())
    usual = model.forecast(whole).point
    model.fit(panel, FitContext())
    found = model.forecast(panel)
    ahead = off[0, panel.n_history :]
    np.testing.assert_array_equal(found.point[:, ahead], 0.0)
    assert (found.quantiles[:, ahead].max()) < 1.0
    np.testing.assert_allclose(np.log1p(found.point[:, ~ahead]), np.log1p(usual[:, ~ahead]), atol=0.12)


def test_a_shop_that_is_closed_for_a_month_comes_back_where_it_was() -> None:
    whole = shops()
    is_open = np.ones(whole.y.shape, dtype=bool)
    is_open[:, whole.n_history - 30 : whole.n_history] = False
    panel = closed_where(whole, ~is_open, {"open": is_open.astype(float)})
    for model in (Arima(ArimaConfig(refine=0)), Prophet(ProphetConfig(window=300))):
        model.fit(panel, FitContext())
        before = np.log(panel.y[:, whole.n_history - 44 : whole.n_history - 30]).mean(axis=1)
        after = np.log(model.forecast(panel).point).mean(axis=1)
        np.testing.assert_allclose(after, before, atol=0.3)


def test_a_day_that_was_not_observed_is_not_one_without_sales() -> None:
    panel = shops(days=420)
    gap = np.flatnonzero((panel.dates.month == 7) & (panel.dates.day == 3))
    assert gap[0] < panel.n_history <= gap[1]
    panel.y[:, gap[0]] = np.nan
    assert not closures(panel).days.any()
    model = Arima(ArimaConfig())
    model.fit(panel, FitContext())
    ahead = gap[1] - panel.n_history
    point = model.forecast(panel).point
    assert (point[:, ahead] > 0.5 * point[:, ahead - 1]).all()
