"""The sums of a panel: which there are, that they add up, and that they agree once reconciled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.errors import ConfigError
from storecast.hierarchy import Hierarchy, aggregated, level_named
from storecast.panel import Floats
from storecast.reconcile import reconcile
from storecast.synthetic import make_panel


def shop(stores: int = 4, families: int = 3) -> Hierarchy:
    """Stores in two cities, each with every family."""
    store = np.repeat(np.arange(stores), families)
    static = pd.DataFrame(
        {
            "store": store,
            "family": np.tile(np.arange(families), stores),
            "city": store % 2,
            "country": 0,
            "id": np.arange(len(store)),
        }
    )
    return Hierarchy.of(static.astype(str))


@st.composite
def forecasts(draw: st.DrawFn) -> tuple[Hierarchy, Floats, Floats, Floats, Floats]:
    """Any crossed groups, points, variances (some 0) and the sums' own forecasts with theirs."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n, days = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    static = pd.DataFrame(
        {f"column {k}": rng.integers(0, draw(st.integers(1, 8)), n).astype(str) for k in range(3)}
    )
    hierarchy = Hierarchy.of(static)
    points = rng.gamma(0.5, 100, (n, days))
    variance = points**2 * rng.uniform(0, 1, (n, days)) * (rng.random((n, days)) < 0.8)
    own = hierarchy.sums(points) * np.exp(rng.normal(0, draw(st.sampled_from([0.0, 0.1, 2.0])), (1, days)))
    own_variance = (own * 0.1 + 1) ** 2 * rng.gamma(1, 1, own.shape)
    own_variance[rng.random(len(own)) < 0.2] = np.inf
    return hierarchy, points, variance, own, own_variance


def dense(hierarchy: Hierarchy) -> Floats:
    """S as a matrix."""
    return hierarchy.sums(np.eye(hierarchy.codes.shape[1]))


def test_levels_are_the_columns_that_group_series() -> None:
    hierarchy = shop()
    assert hierarchy.levels == ["total", "store", "family", "city"], "not one value, not one series each"
    assert len(hierarchy.nodes) == 1 + 4 + 3 + 2


@settings(max_examples=60)
@given(case=forecasts())
def test_whatever_is_reconciled_the_levels_agree_and_nothing_sells_less_than_nothing(
    case: tuple[Hierarchy, Floats, Floats, Floats, Floats],
) -> None:
    hierarchy, points, variance, own, own_variance = case
    found = reconcile(hierarchy, points, variance, own, own_variance)
    assert (found >= 0).all()
    np.testing.assert_array_equal(found[variance == 0], points[variance == 0])
    sums = hierarchy.sums(found)
    for level in hierarchy.levels:
        np.testing.assert_allclose(sums[hierarchy.of_level(level)].sum(axis=0), sums[0], rtol=1e-9)


@settings(max_examples=40)
@given(case=forecasts())
def test_where_nothing_falls_below_zero_it_is_generalised_least_squares(
    case: tuple[Hierarchy, Floats, Floats, Floats, Floats],
) -> None:
    hierarchy, points, variance, own, own_variance = case
    matrix, found = dense(hierarchy), reconcile(hierarchy, points, variance, own, own_variance)
    for day in range(points.shape[1]):
        heard = np.isfinite(own_variance[:, day])
        part, gap = matrix[heard], (own[:, day] - matrix @ points[:, day])[heard]
        system = part * variance[:, day] @ part.T + np.diag(own_variance[heard, day])
        exact = points[:, day] + variance[:, day] * (part.T @ np.linalg.solve(system, gap))
        if (exact >= 0).all():
            np.testing.assert_allclose(found[:, day], exact, rtol=1e-5, atol=1e-5)


def test_a_sum_that_is_sure_pulls_the_series_it_is_made_of_and_the_unsure_ones_most() -> None:
    hierarchy = shop()
    points, variance = np.full((12, 1), 10.0), np.full((12, 1), 1.0)
    variance[0] = 9.0
    own = hierarchy.sums(points)
    own_variance = np.full_like(own, np.inf)
    own[0], own_variance[0] = 140.0, 1e-6
    found = reconcile(hierarchy, points, variance, own, own_variance)
    assert hierarchy.sums(found)[0, 0] == pytest.approx(140, abs=1e-3)
    assert found[0, 0] - 10 == pytest.approx(9 * (found[1, 0] - 10))


def test_sums_that_are_not_heard_leave_the_series_as_they_are() -> None:
    hierarchy = shop()
    points = np.arange(24.0).reshape(12, 2)
    own = hierarchy.sums(points) * 3
    found = reconcile(hierarchy, points, points, own, np.full_like(own, np.inf))
    np.testing.assert_array_equal(found, points)


def test_the_sums_are_a_panel_with_the_holidays_of_their_place() -> None:
    panel = make_panel(n_stores=4, n_families=3, n_days=120)
    y = panel.y.copy()
    y[0, 5], y[:, 7] = np.nan, np.nan
    hierarchy = Hierarchy.of(panel.static)
    sums = aggregated(type(panel)(**{**vars(panel), "y": y}), hierarchy)
    total = sums.y[list(sums.ids).index("total|all")]
    np.testing.assert_allclose(total[: panel.n_history][8:], panel.history.sum(axis=0)[8:])
    assert total[5] == pytest.approx(panel.y[1:, 5].sum()), "what was not observed is left out"
    assert np.isnan(total[7])
    assert sums.horizon == panel.horizon
    assert np.isnan(total[panel.n_history :]).all()
    cities = sums.static.loc[sums.static["level"] == "city", "city"]
    assert set(cities) == set(panel.static["city"])
    assert sums.static.loc["total|all", "city"] == ""
    assert (
        sums.static.loc["store_nbr|1", "city"] == panel.static.set_index("store_nbr").loc["1", "city"].iloc[0]
    )
    share = sums.known["onpromotion"][list(sums.ids).index("total|all")]
    np.testing.assert_allclose(share, panel.known["onpromotion"].mean(axis=0))


def test_a_level_is_found_by_the_beginning_of_its_name() -> None:
    levels = ["total", "store_nbr", "state", "family"]
    assert level_named(levels, "store") == "store_nbr"
    assert level_named(levels, "state") == "state"
    for name in ("st", "shop", ""):
        with pytest.raises(ConfigError, match="total, store_nbr, state, family"):
            level_named(levels, name)
