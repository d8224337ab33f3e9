"""Weekly sales, whose season is the year, by the models of single series."""

import numpy as np
import pandas as pd
import pytest
from seasons import error_of_season, noisy

from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext
from storecast.models.prophet import Prophet, ProphetConfig
from storecast.panel import Panel

WEEKS, AHEAD = 110, 13


def departments(n: int = 5) -> tuple[Panel, np.ndarray]:
    """Departments whose year has four waves, and what they would sell in the weeks ahead without noise."""
    rng = np.random.default_rng(0)
    dates = pd.date_range("2022-01-07", periods=WEEKS + AHEAD, freq="W-FRI")
    angle = 2 * np.pi * np.arange(len(dates)) * 7 / 365.25
    waves = np.array([f(k * angle) for k in (1, 2, 3, 4) for f in (np.sin, np.cos)])
    expected = rng.uniform(5, 8, (n, 1)) + rng.normal(0, 0.2, (n, 8)) @ waves
    return noisy(expected, dates, AHEAD, rng), expected[:, WEEKS:]


@pytest.mark.parametrize("model", [Arima(ArimaConfig(refine=0)), Prophet(ProphetConfig(year_order=0))])
def test_a_year_of_several_waves_is_followed_after_two_of_them(model: Arima | Prophet) -> None:
    panel, expected = departments()
    assert error_of_season(model, panel, expected) < 0.5


def test_prophet_takes_no_season_from_less_than_two_of_them() -> None:
    panel, _ = departments()
    early, model = panel.at(panel.dates[94], AHEAD), Prophet(ProphetConfig())
    model.fit(early, FitContext())
    assert not model._learnt["season"].any()
    model.fit(panel, FitContext())
    assert model._learnt["season"].any(axis=1).all()
