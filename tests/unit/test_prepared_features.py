"""Features that are kept and asked again with another known future are those of that future's panel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.calendar import EVENT_KINDS
from storecast.features import Prepared, build, categories_of
from storecast.panel import Panel
from storecast.synthetic import make_panel

HORIZON = 10


def daily() -> Panel:
    """Nine series with promotions, and prices that are missing from no date."""
    panel = make_panel(n_stores=3, n_families=3, n_days=420, horizon=HORIZON)
    prices = 5 + np.random.default_rng(5).random(panel.y.shape)
    return replace(panel, known={**panel.known, "price": prices})


def weekly() -> Panel:
    """Four weekly series with promotions."""
    made = np.random.default_rng(3)
    dates = pd.date_range("2020-01-05", periods=130 + HORIZON, freq="W-SUN")
    y = made.poisson(20, (4, len(dates))).astype(float)
    y[:, 130:] = np.nan
    ids = np.array(["a|x", "a|y", "b|x", "b|y"], dtype=object)
    static = pd.DataFrame({"shop": list("aabb"), "line": list("xyxy")}, index=ids)
    promotion = made.integers(0, 3, y.shape).astype(float)
    known = {"onpromotion": promotion}
    return Panel(ids=ids, dates=dates, y=y, static=static, freq="W-SUN", cutoff=dates[129], known=known)


PANELS = {"daily": daily(), "weekly": weekly()}
KEPT = {name: Prepared(panel, categories_of(panel), None) for name, panel in PANELS.items()}


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(PANELS)),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    changes=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, HORIZON - 1), st.floats(0, 1e6)),
        max_size=6,
    ),
    events=st.lists(st.tuples(st.integers(0, HORIZON - 1), st.sampled_from(EVENT_KINDS)), max_size=3),
)
def test_another_future_has_the_features_of_a_panel_with_that_future(
    name: str,
    rows: list[int],
    changes: list[tuple[int, int, int, float]],
    events: list[tuple[int, str]],
) -> None:
    panel = PANELS[name]
    known = {covariate: values.copy() for covariate, values in panel.known.items()}
    for covariate, series, ahead, value in changes:
        known[list(known)[covariate % len(known)]][series, panel.n_history + ahead] = value
    other = replace(panel, known=known)
    if events:
        days = [panel.future_dates[ahead] for ahead, _ in events]
        more = pd.DataFrame({"ds": days, "event": "Fair", "kind": [kind for _, kind in events]})
        other = replace(other, events=pd.concat([panel.events, more.assign(column="", value="")]))
    assert KEPT[name].fits(other)
    told = KEPT[name].rows(other, np.array(rows))
    whole = build(other, [other.cutoff])
    expected = whole.values.reshape(panel.n_series, HORIZON, -1)[rows]
    np.testing.assert_array_equal(told.values.reshape(expected.shape), expected)
    assert told.names == whole.names
    assert list(told.series) == [row for row in rows for _ in range(HORIZON)]


@pytest.mark.parametrize("name", sorted(PANELS))
def test_another_past_is_noticed(name: str) -> None:
    panel = PANELS[name]
    known = {covariate: values.copy() for covariate, values in panel.known.items()}
    known["onpromotion"][0, panel.n_history - 1] += 1
    assert not KEPT[name].fits(replace(panel, known=known))
    assert not KEPT[name].fits(replace(panel, y=panel.y.copy()))
