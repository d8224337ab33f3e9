"""What the dates before a date say of it: nothing of the date itself or later, and what was fed back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_features import weekly_panel

from storecast.features import Lags, categories_of
from storecast.features.lags import BASE, reach
from storecast.panel import Panel
from storecast.synthetic import make_panel

HORIZON = 8
PANEL = make_panel(n_stores=2, n_families=2, n_days=200, horizon=HORIZON)


def told(panel: Panel, at: int) -> dict[str, np.ndarray]:
    """(n,) each feature of the date at a position."""
    lags = Lags(panel, categories_of(panel))
    values = lags.features(np.array([at]))[:, 0]
    return {name: values[:, i] for i, name in enumerate(lags.names)}


@settings(max_examples=40)
@given(at=st.integers(1, 199), later=st.integers(0, 60), change=st.floats(0, 1e6))
def test_no_feature_of_a_date_changes_when_it_or_a_later_one_sold_something_else(
    at: int, later: int, change: float
) -> None:
    y = PANEL.y.copy()
    y[:, min(at + later, 199)] = change
    known = {name: x.copy() for name, x in PANEL.known.items()}
    for x in known.values():
        x[:, at + 1 + later :] = change
    before, after = told(PANEL, at), told(replace(PANEL, y=y, known=known), at)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)


def test_lags_and_means_are_differences_of_the_log_sales_to_the_level_of_the_last_weeks() -> None:
    at = 150
    found, logs = told(PANEL, at), np.log1p(PANEL.y)
    weekdays = logs[:, [at - 7, at - 14, at - 21, at - 28]].mean(axis=1)
    base = (weekdays + logs[:, at - 28 : at].mean(axis=1)) / 2
    expected = {
        "base": base,
        "lag_1": logs[:, at - 1] - base,
        "lag_14": logs[:, at - 14] - base,
        "mean_2w": logs[:, at - 14 : at].mean(axis=1) - base,
        "weekday_mean_4": weekdays - base,
        "onpromotion_on_day": np.log1p(PANEL.known["onpromotion"])[:, at],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_dates_in_the_future_are_told_from_what_was_fed_back() -> None:
    lags = Lags(PANEL, categories_of(PANEL))
    at = PANEL.n_history
    forecast = np.arange(PANEL.n_series, dtype=np.float64)
    lags.put(at, forecast)
    values = lags.features(np.array([at + 1]))[:, 0]
    lag, base = (values[:, lags.names.index(name)] for name in ("lag_1", BASE))
    np.testing.assert_allclose(lag + base, forecast, rtol=1e-5)


def test_many_dates_at_once_have_the_features_of_each() -> None:
    lags = Lags(PANEL, categories_of(PANEL))
    together = lags.features(np.array([3, 90, 150]))
    for i, at in enumerate((3, 90, 150)):
        np.testing.assert_array_equal(together[:, i], lags.features(np.array([at]))[:, 0])


@pytest.mark.parametrize("panel", [PANEL, weekly_panel()], ids=["daily", "weekly"])
def test_a_panel_cut_to_what_the_features_reach_back_to_has_the_same(panel: Panel) -> None:
    dates = reach(panel.frequency)
    whole, cut = told(panel, panel.n_history), told(panel.last(dates), dates)
    assert whole.keys() == cut.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(cut[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("more", [False, True], ids=["a promotion", "a promotion and an event"])
def test_some_series_asked_about_another_future_have_the_features_of_that_future(more: bool) -> None:
    at, rows = PANEL.n_history + 2, np.array([3, 1])
    promoted = PANEL.known["onpromotion"].copy()
    promoted[:, at:] += 7
    other = PANEL.with_known("onpromotion", promoted)
    if more:
        event = {"ds": PANEL.dates[at], "event": "strike", "kind": "event", "column": "", "value": ""}
        other = replace(other, events=pd.concat([PANEL.events, pd.DataFrame([event])]))
    prepared = Lags(PANEL, categories_of(PANEL))
    asked, anew = prepared.asked(other, rows), Lags(other.select(rows), categories_of(PANEL))
    for lags in (asked, anew):
        lags.put(at - 1, np.array([1.0, 2.0]))
    there = np.array([at])
    np.testing.assert_array_equal(asked.features(there), anew.features(there))
    again, before = prepared.features(there), Lags(PANEL, categories_of(PANEL)).features(there)
    np.testing.assert_array_equal(again, before)
    assert not np.array_equal(asked.features(there), before[rows])
