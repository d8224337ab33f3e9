"""What a series' own history says of a season: the F statistic, and what of it chance explains."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from storecast.models.evidence import Ridge
from storecast.panel import Floats

CHOSEN = np.array([False, False, True, True])
FREE = np.zeros(4)


def regression(effect: float, seed: int = 0, n: int = 200) -> tuple[Floats, Floats]:
    """(n, 4) columns that are not orthogonal and (n,) values in which the last two count with `effect`."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 4)) + rng.normal(size=(n, 1))
    return a, a @ np.array([1.0, -2.0, effect, -effect]) + rng.normal(size=n)


def variance(a: Floats, y: Floats) -> float:
    return float(((y - a @ Ridge.of(a, y, FREE).solution) ** 2).sum() / (len(y) - a.shape[1]))


@given(effect=st.floats(-2, 2), seed=st.integers(0, 100))
def test_the_evidence_is_the_f_statistic_of_least_squares(effect: float, seed: int) -> None:
    a, y = regression(effect, seed)
    found = Ridge.of(a, y, FREE).evidence(CHOSEN, variance(a, y))
    assert found == pytest.approx(float(sm.OLS(y, a).fit().f_test(np.eye(4)[CHOSEN]).fvalue), rel=1e-6)


def test_weights_count_a_row_as_if_it_stood_there_so_often() -> None:
    a, y = regression(0.5)
    twice = Ridge.of(np.vstack([a, a]), np.r_[y, y], FREE)
    np.testing.assert_allclose(Ridge.of(a, y, FREE, np.full(len(y), 2.0)).solution, twice.solution)


def test_a_clear_effect_stays_as_it_is_and_a_chance_one_goes() -> None:
    for effect, expected in ((2.0, 2.0), (0.0, 0.0)):
        a, y = regression(effect)
        found = Ridge.of(a, y, FREE).shrunken([CHOSEN], variance(a, y), 4.0)
        np.testing.assert_allclose(found, [1.0, -2.0, expected, -expected], atol=0.2)
    assert not found[CHOSEN].any()


def test_the_others_are_told_as_if_a_dropped_effect_had_not_been_asked_for() -> None:
    a, y = regression(0.3)
    dropped = Ridge.of(a, y, FREE).shrunken([CHOSEN], variance(a, y), np.inf)
    np.testing.assert_allclose(dropped[~CHOSEN], np.linalg.lstsq(a[:, ~CHOSEN], y, rcond=None)[0])


def test_each_group_is_judged_by_itself() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(300, 4))
    y = a @ np.array([1.0, -1.0, 0.0, 0.0]) + rng.normal(size=300)
    found = Ridge.of(a, y, FREE).shrunken([~CHOSEN, CHOSEN], variance(a, y), 6.0)
    np.testing.assert_allclose(found[~CHOSEN], [1.0, -1.0], atol=0.2)
    assert not found[CHOSEN].any()


def test_a_column_of_zeros_is_no_evidence() -> None:
    a, y = regression(1.0)
    a[:, CHOSEN] = 0.0
    ridge = Ridge.of(a, y, np.ones(4))
    assert ridge.evidence(CHOSEN, 1.0) == 0.0
    assert not ridge.shrunken([CHOSEN], 1.0, 4.0)[CHOSEN].any()


def test_without_a_threshold_nothing_is_shrunk() -> None:
    a, y = regression(0.1)
    ridge = Ridge.of(a, y, np.ones(4))
    np.testing.assert_array_equal(ridge.shrunken([CHOSEN], 1.0, 0.0), ridge.solution)
