"""The panel: cutoffs hide what came later, and the long form round-trips."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storecast.errors import DataError
from storecast.panel import Panel
from storecast.synthetic import make_panel

PANEL = make_panel(n_stores=3, n_families=2, n_days=120, horizon=7)


@given(st.integers(min_value=0, max_value=112))
def test_a_panel_at_a_cutoff_knows_nothing_that_came_later(days_back: int) -> None:
    cutoff = PANEL.dates[PANEL.n_history - 1 - days_back]
    seen = PANEL.at(cutoff, 7)
    assert seen.cutoff == cutoff
    assert np.isnan(seen.y[:, seen.n_history :]).all()
    assert all(np.isnan(past[:, seen.n_history :]).all() for past in seen.past.values())
    np.testing.assert_array_equal(seen.history, PANEL.y[:, : seen.n_history])


def test_a_panel_at_a_cutoff_still_knows_the_promotions_ahead() -> None:
    seen = PANEL.at("2023-07-01", 7)
    np.testing.assert_array_equal(
        seen.known["onpromotion"][:, -7:], PANEL.known["onpromotion"][:, seen.n_history : seen.n_history + 7]
    )


def test_actuals_are_what_the_cutoff_hid() -> None:
    hidden = PANEL.actuals("2023-07-01", 7)
    start = PANEL.at("2023-07-01").n_history
    np.testing.assert_array_equal(hidden, PANEL.y[:, start : start + 7])


def test_the_long_form_gives_the_same_panel_back() -> None:
    again = Panel.from_frame(
        PANEL.to_frame(),
        static=PANEL.static,
        freq="D",
        cutoff=PANEL.cutoff,
        known=["onpromotion"],
        past=["transactions"],
        events=PANEL.events,
    )
    np.testing.assert_array_equal(again.y, PANEL.y)
    np.testing.assert_array_equal(again.known["onpromotion"], PANEL.known["onpromotion"])
    assert list(again.ids) == list(PANEL.ids)


def test_a_duplicate_row_is_refused() -> None:
    frame = PANEL.to_frame()
    doubled = pd.concat([frame, frame.head(1)])
    with pytest.raises(DataError, match="more than once"):
        Panel.from_frame(doubled, static=PANEL.static, freq="D", cutoff=PANEL.cutoff)


def test_a_cutoff_outside_the_history_is_refused_with_the_range() -> None:
    with pytest.raises(DataError, match=r"2023-04-03\.\.2023-07-31"):
        PANEL.at("2031-01-01")


def test_a_late_store_starts_selling_late() -> None:
    late = PANEL.select(np.flatnonzero(PANEL.static["store_nbr"] == "3"))
    assert (late.first_sale > 30).all()


def test_what_if_replaces_only_the_named_covariate() -> None:
    doubled = PANEL.with_known("onpromotion", PANEL.known["onpromotion"] * 2)
    assert doubled.known["onpromotion"].sum() == 2 * PANEL.known["onpromotion"].sum()
    with pytest.raises(DataError, match="onpromotion"):
        PANEL.with_known("price", PANEL.y)


@pytest.mark.parametrize(
    ("rule", "ahead"), [("zero", [0] * 9), ("last", [99] * 9), ("last_season", [*range(93, 100), 93, 94])]
)
def test_what_nobody_plans_is_told_from_history_at_an_earlier_cutoff_too(rule: str, ahead: list[int]) -> None:
    plan = np.tile(np.arange(float(len(PANEL.dates))), (PANEL.n_series, 1))
    panel = replace(PANEL, known={"plan": plan, "planned": plan}, unplanned={"plan": rule})
    seen = panel.at(PANEL.dates[99], 9)
    np.testing.assert_array_equal(seen.known["plan"][0, 100:], ahead)
    np.testing.assert_array_equal(seen.known["planned"], plan[:, :109])
    np.testing.assert_array_equal(panel.at(panel.cutoff).known["plan"], plan)
