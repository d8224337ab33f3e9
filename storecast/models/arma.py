"""The noise of a local model: ARMA(p, q), its order, its parameters and its innovations.

As statsmodels estimates it, at a fraction of its time: candidates share the long autoregression, and the
likelihood (`storecast.models.likelihood`) is not more work than two filters.

Sources: Brockwell and Davis, Introduction to Time Series and Forecasting, 3rd ed.: 5.1.4 (Hannan-Rissanen),
5.2 (likelihood); Monahan, A note on enforcing stationarity in ARMA models, Biometrika 71 (1984).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from storecast.models.likelihood import Likelihood, polynomial
from storecast.panel import Floats

START_MA = -0.85
"""Moving average of the ARIMA(0, 1, 1) that every fit starts from and that fallbacks stay with."""

RESCUE = 5
"""Iterations of maximum likelihood where the config asks for none but nothing else gave an estimate."""

INSIDE = 1 - 1e-10
"""Roots of a polynomial that can be inverted lie within this."""

DIFFERENCE = math.sqrt(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Noise:
    """ARMA parameters: y_t = ar · (y before) + e_t + ma · (e before)."""

    ar: Floats
    ma: Floats

    @property
    def order(self) -> tuple[int, int]:
        """(p, q)"""
        return len(self.ar), len(self.ma)

    @property
    def is_proper(self) -> bool:
        """Whether it is stationary and invertible."""
        finite = np.isfinite(self.ar).all() and np.isfinite(self.ma).all()
        return bool(finite) and _inside(-self.ar) and _inside(self.ma)


START = Noise(np.zeros(0), np.array([START_MA]))


def innovations(values: Floats, noise: Noise, *, normalize: bool = False) -> tuple[Floats, Floats]:
    """Innovations (N,) or (N, K) of each column, and their variances relative to that of the noise (N,)."""
    from statsmodels.tsa.innovations.arma_innovations import arma_innovations

    u, v = arma_innovations(values, noise.ar, noise.ma, normalize=normalize)
    return np.atleast_1d(u), np.atleast_1d(v)


def estimate(
    steps: Floats,
    known: Noise | None,
    orders: Sequence[tuple[int, int]],
    criterion: str,
    refine: int,
) -> Noise | None:
    """The noise's parameters: the best candidate by the criterion, or the known order, then refined.

    Least squares often find no invertible candidate where the level never moves; likelihood does. None where
    that fails too.

    Args:
        steps: (N,) the noise.
        known: parameters of an earlier estimate, whose order is kept; None: choose one.
        orders: candidates (p, q).
        criterion: "aic" or "bic".
        refine: iterations of maximum likelihood, 0 for none.
    """
    least = LeastSquares(steps)
    best = choose(steps, orders, criterion, least) if known is None else least.of(known.order) or known
    if best is None:
        return maximum_likelihood(steps, START, max(refine, RESCUE))
    refined = maximum_likelihood(steps, best, refine) if refine else None
    return refined or best


def choose(
    steps: Floats, orders: Sequence[tuple[int, int]], criterion: str, least: LeastSquares
) -> Noise | None:
    """The candidate with the lowest information criterion of the exact Gaussian likelihood."""
    n = len(steps)
    price = math.log(n) if criterion == "bic" else 2.0
    best, lowest, likelihood = None, math.inf, Likelihood(steps)
    for order in orders:
        noise = least.of(order)
        if noise is None:
            continue
        squares, logs = likelihood.parts(noise.ar, noise.ma)
        value = n * math.log(squares / n) + logs + price * sum(order) if squares > 0 else -math.inf
        if value < lowest:
            best, lowest = noise, value
    return best


class LeastSquares:
    """Hannan and Rissanen's two regressions; the first, a long autoregression, is shared by all orders."""

    def __init__(self, steps: Floats) -> None:
        self._steps = steps
        self._shocks: dict[int, Floats] = {}

    def of(self, order: tuple[int, int]) -> Noise | None:
        """The estimate of an order; None where it is not stationary and invertible, or cannot be had."""
        (p, q), y = order, self._steps
        if p == q == 0:
            return Noise(np.zeros(0), np.zeros(0))
        length = max(int(math.log(len(y)) ** 2), 2 * max(p, q)) if q else p
        if len(y) <= length + 2 * max(p, q):
            return None
        try:
            blocks = [_lagged(y, p)[length + q - p :]]
            if q:
                blocks.append(_lagged(self._long(length), q))
            found = np.asarray(np.linalg.lstsq(np.column_stack(blocks), y[length + q :])[0], dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        noise = Noise(found[:p], found[p:])
        return noise if noise.is_proper else None

    def _long(self, length: int) -> Floats:
        """Residuals of an autoregression of so many lags by Yule and Walker's equations."""
        if length not in self._shocks:
            y = self._steps
            centred = y - y.mean()
            n = len(y)
            r = np.array([centred[: n - k] @ centred[k:] for k in range(length + 1)]) / n
            lag = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
            self._shocks[length] = y[length:] - _lagged(y, length) @ np.linalg.solve(r[lag], r[1:])
        return self._shocks[length]


def maximum_likelihood(steps: Floats, start: Noise, iterations: int) -> Noise | None:
    """A few steps of exact maximum likelihood from `start`; None where they lead nowhere.

    The steps are those of Broyden, Fletcher, Goldfarb and Shanno on parameters that stay stationary and
    invertible, the deviation of the noise among them.
    """
    from scipy.optimize import minimize

    p, _ = start.order
    if not start.is_proper:
        return None
    likelihood = Likelihood(steps)

    def unfolded(x: Floats) -> Noise:
        return Noise(_folded(x[:p]), -_folded(x[p:-1]))

    def value(x: Floats) -> float:
        noise = unfolded(x)
        return likelihood.negative(noise.ar, noise.ma, float(x[-1] ** 2))

    first = np.r_[_unfolded(start.ar), _unfolded(-start.ma), math.sqrt(float(np.var(steps)))]
    try:
        found = minimize(_with_slope(value), first, jac=True, options={"maxiter": iterations})
    except (ValueError, np.linalg.LinAlgError):
        return None
    noise = unfolded(found.x)
    return noise if noise.is_proper else None


def _with_slope(value: Callable[[Floats], float]) -> Callable[[Floats], tuple[float, Floats]]:
    """A function with its slope by forward differences."""

    def both(x: Floats) -> tuple[float, Floats]:
        here, slope = value(x), np.empty(len(x))
        for k in range(len(x)):
            moved = x.copy()
            moved[k] += DIFFERENCE if x[k] >= 0 else -DIFFERENCE
            slope[k] = (value(moved) - here) / (moved[k] - x[k])
        return here, slope

    return both


def _inside(coefficients: Floats) -> bool:
    """Whether 1 + c₁ L + c₂ L² ... can be inverted."""
    if len(coefficients) < 2:
        return bool((np.abs(coefficients) < INSIDE).all())
    return bool((np.abs(np.roots(polynomial(coefficients))) < INSIDE).all())


def _lagged(values: Floats, lags: int) -> Floats:
    """(N - lags, lags) the values 1, 2, ... dates before."""
    if not lags:
        return np.empty((len(values), 0))
    windows = np.lib.stride_tricks.sliding_window_view(values, lags)[:-1]
    return np.asarray(windows[:, ::-1])


def _folded(x: Floats) -> Floats:
    """Any numbers as the coefficients of a stationary autoregression (Monahan 1984)."""
    out: list[float] = []
    for value in x.tolist():
        r = value / math.sqrt(1 + value**2)
        out = [*(c + r * d for c, d in zip(out, reversed(out), strict=True)), r]
    return -np.array(out)


def _unfolded(coefficients: Floats) -> Floats:
    """The numbers of which `_folded` makes these coefficients."""
    left, partial = -coefficients, np.zeros(len(coefficients))
    for k in range(len(coefficients) - 1, -1, -1):
        r = partial[k] = left[k]
        left = (left[:k] - r * left[:k][::-1]) / (1 - r**2)
    return partial / np.sqrt(1 - partial**2)
