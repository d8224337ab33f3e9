"""Intervals of a sum of series come from how the sum was missed, not from adding quantiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.errors import DataError
from storecast.sums import sum_intervals

DATES = pd.date_range("2023-08-01", periods=16)


def backtest(seed: int, days: int, series: int = 5) -> pd.DataFrame:
    """Forecasts that miss by some 20 % on each of some days."""
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(series)]
    dates = pd.date_range("2023-06-01", periods=days)
    frame = pd.MultiIndex.from_product([names, dates], names=["unique_id", "ds"]).to_frame(index=False)
    yhat = rng.gamma(5, 20, len(frame))
    return frame.assign(cutoff=dates[0], yhat=yhat, y=yhat * np.exp(rng.normal(0, 0.2, len(frame))))


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), days=st.integers(25, 60))
def test_the_sum_of_the_next_day_lies_within_as_often_as_promised_or_more(seed: int, days: int) -> None:
    table = backtest(seed, days)
    sums = table.groupby("ds")[["y", "yhat"]].sum()
    bounds = sum_intervals(table, sums["yhat"])
    for level in (80, 95):
        inside = sums["y"].between(bounds[f"lower_{level}"] - 1e-6, bounds[f"upper_{level}"] + 1e-6)
        assert inside.mean() >= level / 100 - 1e-9
    assert (bounds["lower_95"] <= bounds["lower_80"]).all()
    assert (bounds["upper_80"] <= bounds["upper_95"]).all()


def test_a_sum_is_surer_than_its_parts_added_up() -> None:
    table = backtest(3, 60, series=30)
    forecast = pd.Series(3000.0, index=DATES)
    width = sum_intervals(table, forecast)["upper_80"] / forecast - 1
    alone = sum_intervals(table[table["unique_id"] == "s0"], forecast)["upper_80"] / forecast - 1
    assert width.iloc[0] < 0.5 * alone.iloc[0]


def test_a_short_backtest_gives_only_the_levels_that_it_can() -> None:
    forecast = pd.Series(100.0, index=DATES)
    assert list(sum_intervals(backtest(1, 16), forecast)) == ["lower_80", "upper_80"]
    assert sum_intervals(backtest(1, 2), forecast).empty


def test_days_that_were_not_observed_say_nothing() -> None:
    table = backtest(1, 30)
    closed = table.assign(y=table["y"].where(table["ds"] > table["ds"].min()))
    later = table[table["ds"] > table["ds"].min()]
    forecast = pd.Series(100.0, index=DATES)
    pd.testing.assert_frame_equal(sum_intervals(closed, forecast), sum_intervals(later, forecast))


def test_a_table_without_the_actuals_is_refused() -> None:
    with pytest.raises(DataError, match="y"):
        sum_intervals(pd.DataFrame({"cutoff": [], "ds": [], "yhat": []}), pd.Series(dtype=float))
