"""Every model forecasts every odd panel: numbers, none negative, quantiles in order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from storecast.models.base import FitContext
from storecast.models.catalogue import load_class, load_spec
from storecast.panel import Floats, Panel
from storecast.synthetic import make_panel

FAST = {
    "gbm": {"boosters": [{"rounds": 10}], "spread_rounds": 5},
    "lstm": {"steps": 4, "warm_steps": 2, "batch": 32, "hidden": 8, "width": 8, "members": 1},
}


def _with_history(panel: Panel, history: Floats) -> Panel:
    y = panel.y.copy()
    y[:, : panel.n_history] = history
    return replace(panel, y=y)


def usual() -> Panel:
    return make_panel(n_stores=2, n_families=2, n_days=150)


def one_series() -> Panel:
    return make_panel(n_stores=1, n_families=1, n_days=150)


def only_zeros() -> Panel:
    return _with_history(usual(), np.zeros_like(usual().history))


def a_series_without_history() -> Panel:
    history = usual().history.copy()
    history[1] = np.nan
    return _with_history(usual(), history)


def a_series_that_ended() -> Panel:
    history = usual().history.copy()
    history[1, -60:] = np.nan
    return _with_history(usual(), history)


def holes_in_the_history() -> Panel:
    history = usual().history.copy()
    history[:, ::5] = np.nan
    return _with_history(usual(), history)


def three_weeks_of_history() -> Panel:
    return make_panel(n_stores=2, n_families=2, n_days=21, horizon=7)


def one_huge_sale() -> Panel:
    history = usual().history.copy()
    history[0, 100] = 1e9
    return _with_history(usual(), history)


def no_covariates() -> Panel:
    return replace(usual(), known={}, past={})


def weeks() -> Panel:
    return _summed("W-SUN", 7 * 130)


def months() -> Panel:
    return _summed("MS", 30 * 40)


def a_year_of_months() -> Panel:
    return _summed("ME", 365)


def _summed(freq: str, days: int) -> Panel:
    """Sales by week or month; the last six of them are to come."""
    daily = make_panel(n_stores=2, n_families=2, n_days=days, horizon=42)
    frame = daily.to_frame().groupby(["unique_id", pd.Grouper(key="ds", freq=freq)], as_index=False)
    table = frame[["y", "onpromotion"]].sum(min_count=1)
    cutoff = table["ds"].unique()[-7]
    return Panel.from_frame(
        table.assign(y=table["y"].where(table["ds"] <= cutoff)),
        static=daily.static,
        freq=freq,
        cutoff=cutoff,
        known=["onpromotion"],
        events=daily.events,
    )


PANELS: tuple[Callable[[], Panel], ...] = (
    usual,
    one_series,
    only_zeros,
    a_series_without_history,
    a_series_that_ended,
    holes_in_the_history,
    three_weeks_of_history,
    one_huge_sale,
    no_covariates,
    weeks,
    months,
    a_year_of_months,
)


@pytest.mark.parametrize("panel", PANELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["naive", "arima", "prophet", "lstm", "gbm"])
def test_every_model_forecasts_every_panel(name: str, panel: Callable[[], Panel], tmp_path: Path) -> None:
    given = panel()
    spec = load_spec(name)
    cls = load_class(spec.class_path)
    model = cls(cls.Config(**{**spec.params, **spec.profiles.get("quick", {}), **FAST.get(name, {})}))
    report = model.fit(given, FitContext())
    forecast = model.forecast(given)
    assert forecast.point.shape == (given.n_series, given.horizon)
    assert np.isfinite(forecast.point).all()
    assert np.isfinite(forecast.quantiles).all()
    assert (forecast.point >= 0).all()
    assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
    assert {fallback.unique_id for fallback in report.fallbacks} <= set(given.ids)
    model.save(tmp_path)
    again = cls.load(tmp_path).forecast(given)
    np.testing.assert_allclose(again.point, forecast.point, rtol=1e-6)
