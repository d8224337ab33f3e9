"""Prophet's posterior: that what is found is its top, also where the library's search gives up."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_prophet import stock

from storecast.models.posterior import LEAST_VARIANCE, Optimum, Problem, most_likely
from storecast.panel import Floats

TURNS = 1000


def log_posterior(problem: Problem, found: Optimum) -> float:
    """Of the library's `prophet.stan`, but for a constant: linear trend, additive effects."""
    t, y = problem.t, problem.y / problem.y_scale
    rates = found.k + (t[:, None] >= problem.bend_times) @ found.delta
    offsets = found.m - (t[:, None] >= problem.bend_times) @ (problem.bend_times * found.delta)
    errors = y - (rates * t + offsets + problem.x @ found.beta)
    return float(
        -0.5 * (found.k**2 + found.m**2) / 5**2
        - np.abs(found.delta).sum() / problem.bend_scale
        - 0.5 * found.sigma**2 / 0.5**2
        - 0.5 * ((found.beta / problem.scales) ** 2).sum()
        - len(y) * np.log(found.sigma)
        - 0.5 * (errors @ errors) / found.sigma**2
    )


def a_series(dates: int, noise: float, seed: int, bends: int = 12, gaps: bool = False) -> Problem:
    """Weeks, a wandering level and some promotions."""
    rng = np.random.default_rng(seed)
    days = np.arange(dates, dtype=np.float64)
    week = 2 * np.pi * days[:, None] * np.arange(1, 4) / 7
    x = np.column_stack([np.sin(week), np.cos(week), rng.random(dates) < 0.2])
    level = np.cumsum(rng.normal(0, 0.03, dates)) if noise else days / dates
    y = 4 + level + x @ rng.normal(0, 0.2, 7) + rng.normal(0, 1, dates) * noise
    known = rng.random(dates) < 0.8 if gaps else np.ones(dates, dtype=bool)
    known[[0, -1]] = True
    return Problem(days[known], y[known], x[known], np.r_[np.full(6, 10.0), 0.3], bends, 0.05)


@given(
    dates=st.integers(40, 400),
    noise=st.sampled_from([0.0, 0.01, 0.3, 3.0]),
    bends=st.integers(0, 40),
    gaps=st.booleans(),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_no_step_away_from_what_was_found_raises_the_posterior(
    dates: int, noise: float, bends: int, gaps: bool, seed: int
) -> None:
    problem = a_series(dates, noise, seed, bends, gaps)
    found = most_likely(problem, TURNS)
    top = log_posterior(problem, found)
    rng = np.random.default_rng(seed)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            step = rng.normal(0, size, 3 + len(found.delta) + len(found.beta))
            step *= rng.random(len(step)) < rng.choice([0.1, 1.0])
            assert log_posterior(problem, moved(found, step)) <= top + 1e-6


def moved(found: Optimum, step: Floats) -> Optimum:
    bends = len(found.delta)
    return Optimum(
        k=found.k + step[0],
        m=found.m + step[1],
        sigma=max(found.sigma * float(np.exp(step[2])), LEAST_VARIANCE**0.5),
        delta=found.delta + step[3 : 3 + bends],
        beta=found.beta + step[3 + bends :],
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dates", [90, 365])
def test_it_is_at_least_as_high_as_where_the_library_ends(dates: int, seed: int) -> None:
    problem = a_series(dates, 0.3, seed)
    librarys = the_librarys(problem)
    gained = log_posterior(problem, most_likely(problem, TURNS)) - log_posterior(problem, librarys)
    assert -1e-6 <= gained < 1.0


def the_librarys(problem: Problem) -> Optimum:
    """What the library's own fit finds, given the same columns as regressors."""
    columns = {f"x{k}": problem.x[:, k] for k in range(len(problem.scales))}
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(problem.days, unit="D")
    with stock(problem.bends, problem.bend_scale) as model:
        for name, scale in zip(columns, problem.scales, strict=True):
            model.add_regressor(name, prior_scale=scale, standardize=False)
        model.fit(pd.DataFrame({"ds": dates, "y": problem.y, **columns}), seed=1)
    p: dict[str, Any] = {name: np.asarray(value)[0] for name, value in model.params.items()}
    return Optimum(p["k"].item(), p["m"].item(), p["sigma_obs"].item(), p["delta"], p["beta"])


def test_a_trend_without_noise_is_found_and_its_noise_has_a_floor() -> None:
    days = np.arange(100.0)
    found = most_likely(Problem(days, 10 + days, np.zeros((100, 1)), np.ones(1), 5, 0.05), TURNS)
    assert found.sigma == LEAST_VARIANCE**0.5
    np.testing.assert_allclose((found.m + found.k) * 109, 109, rtol=1e-3)


def test_a_noise_that_does_not_settle_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="not settled after 2 turns"):
        most_likely(a_series(200, 0.3, 0), 2)
