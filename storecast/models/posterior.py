"""Prophet's posterior where it is highest, found exactly.

The library searches for it with Stan, whose L-BFGS meets a kink wherever a bend is 0: on a quarter of the
series of a year it gives up, and Newton's method takes its time. But given the noise what is left is a
quadratic with the bends' absolute values, a lasso whose other effects can be eliminated, and least angle
regression ends at its optimum; and given the effects the likeliest noise is the root of a quadratic. The two
take turns until the noise stands still. Each turn raises the posterior, so it ends no lower than it began.

Source: the posterior is that of the library's `prophet.stan` (linear trend, additive effects); Efron, Hastie,
Johnstone and Tibshirani, Least angle regression, The Annals of Statistics 32 (2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from storecast.panel import Floats

RANGE = 0.8
"""Share of the history in which the trend may bend: the library's default."""

TREND_SCALE = 5.0
"""Prior deviation of the trend's slope and level, on scaled time and values."""

NOISE_SCALE = 0.5
"""Prior deviation of the noise's."""

LEAST_VARIANCE = 1e-8
"""Of the noise, on scaled values: without a floor a series without noise has a posterior without end."""

STILL = 1e-7
"""Relative change of the noise's variance at which it has settled."""


@dataclass(frozen=True)
class Problem:
    """One series as Prophet models it.

    Attributes:
        days: (T,) days since any date, of the dates that are known.
        y: (T,) the values.
        x: (T, K) seasonal terms and regressors.
        scales: (K,) prior deviations of their effects.
        bends: how often the trend may bend at most.
        bend_scale: prior deviation of a bend.
    """

    days: Floats
    y: Floats
    x: Floats
    scales: Floats
    bends: int
    bend_scale: float

    @property
    def span(self) -> float:
        """Days from the first date to the last."""
        return float(self.days[-1] - self.days[0])

    @property
    def t(self) -> Floats:
        """(T,) time, from 0 to 1."""
        return np.asarray((self.days - self.days[0]) / self.span)

    @property
    def y_scale(self) -> float:
        """What values are divided by."""
        return float(np.abs(self.y).max()) or 1.0

    @property
    def bend_times(self) -> Floats:
        """(S,) times at which the trend may bend, evenly over the first dates."""
        last = int(np.floor(len(self.y) * RANGE)) - 1
        count = min(self.bends, last)
        return np.asarray(self.t[np.linspace(0, last, count + 1).round().astype(int)][1:])


@dataclass(frozen=True)
class Optimum:
    """The most likely parameters, on scaled time and values; `delta` at the problem's `bend_times`."""

    k: float
    m: float
    sigma: float
    delta: Floats
    beta: Floats


def most_likely(problem: Problem, max_turns: int) -> Optimum:
    """The parameters that maximise the posterior.

    Raises:
        RuntimeError: the noise had not settled after so many turns.
        numpy.linalg.LinAlgError: the effects cannot be told from one another, having no prior to speak of.
    """
    t, y, times = problem.t, problem.y / problem.y_scale, problem.bend_times
    columns = np.column_stack([t, np.ones_like(t), problem.x, np.maximum(t[:, None] - times, 0.0)])
    smooth = 2 + problem.x.shape[1]
    precision = np.r_[np.full(2, TREND_SCALE), problem.scales] ** -2.0
    gram, moments = columns.T @ columns, columns.T @ y
    variance = 1.0
    for _ in range(max_turns):
        effects = _effects(gram, moments, variance * precision, variance / problem.bend_scale, smooth)
        before, variance = variance, _variance(y - columns @ effects)
        if abs(variance - before) <= STILL * before:
            return Optimum(
                k=float(effects[0]),
                m=float(effects[1]),
                sigma=float(np.sqrt(variance)),
                delta=effects[smooth:],
                beta=effects[2:smooth],
            )
    raise RuntimeError(f"the noise had not settled after {max_turns} turns")


def _effects(gram: Floats, moments: Floats, ridge: Floats, lasso: float, smooth: int) -> Floats:
    """All effects at a given noise: those with a normal prior come first and are eliminated."""
    factor = cho_factor(gram[:smooth, :smooth] + np.diag(ridge))
    cross = gram[:smooth, smooth:]
    solved = cho_solve(factor, np.column_stack([moments[:smooth], cross]))
    alone, shared = solved[:, 0], solved[:, 1:]
    bends = _bends(gram[smooth:, smooth:] - cross.T @ shared, moments[smooth:] - cross.T @ alone, lasso)
    return np.asarray(np.r_[alone - shared @ bends, bends])


def _bends(gram: Floats, moments: Floats, penalty: float) -> Floats:
    """The bends b that minimise b'Gb/2 - m'b + penalty·|b|."""
    if not (np.abs(moments) > penalty).any():
        return np.zeros(len(moments))
    from sklearn import config_context
    from sklearn.linear_model import lars_path_gram

    with config_context(skip_parameter_validation=True):  # half of its time
        path = lars_path_gram(Xy=moments, Gram=gram, n_samples=1, alpha_min=penalty, method="lasso")
    return np.asarray(path[2][:, -1])


def _variance(residuals: Floats) -> float:
    """The noise's likeliest variance v: where n/v - s/v² + 1/scale² is 0."""
    n, total = len(residuals), float(residuals @ residuals)
    root = n + math.sqrt(n * n + 4.0 * total / NOISE_SCALE**2)
    return max(2.0 * total / root, LEAST_VARIANCE)
