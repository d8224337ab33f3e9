"""The exact Gaussian likelihood of a series as ARMA noise.

It costs two linear filters and algebra of the size of the order: innovations of a series that starts from
nothing, less what the state before its first date explains of them. The innovations algorithm gives the same.

Sources: Brockwell and Davis, Introduction to Time Series and Forecasting, 3rd ed.: 5.2; de Jong, The
likelihood for a state space model, Biometrika 75 (1988).
"""

from __future__ import annotations

import math

import numpy as np

from storecast.panel import Floats

_ONE = np.ones(1)


class Likelihood:
    """The exact Gaussian likelihood of a series as ARMA noise."""

    def __init__(self, steps: Floats) -> None:
        self._steps = steps
        self._impulse = np.zeros(len(steps))
        self._impulse[0] = 1.0

    def parts(self, ar: Floats, ma: Floats) -> tuple[float, float]:
        """Σ u²/v and Σ log v of the innovations u with variances v relative to that of the noise.

        Raises:
            ValueError: the noise is not stationary.
            LinAlgError: the same.
        """
        from scipy.signal import lfilter

        y, below, n = self._steps, polynomial(ma), len(self._steps)
        shocks = lfilter(polynomial(-ar), below, y)
        squares, states = float(shocks @ shocks), max(len(ar), len(ma))
        if states == 0:
            return squares, 0.0
        echo = lfilter(_ONE, below, self._impulse)
        told = [float(echo[: n - k] @ shocks[k:]) for k in range(states)]
        reach = [
            [float(echo[j - k : n - k] @ echo[: n - j]) for j in range(k, states)] for k in range(states)
        ]
        if states <= 2:
            explained, inner = _explained_by_two(ar.tolist(), ma.tolist(), told, reach)
        else:
            explained, inner = _explained(ar, ma, told, reach)
        if not inner > 0:
            raise ValueError("the noise is not stationary")
        return squares - explained, math.log(inner)

    def negative(self, ar: Floats, ma: Floats, variance: float) -> float:
        """Minus the logarithm of the likelihood, infinite outside its domain."""
        if not 0 < variance < math.inf:
            return math.inf
        squares, logs = self.parts(ar, ma)
        return 0.5 * (len(self._steps) * math.log(2 * math.pi * variance) + logs + squares / variance)


def polynomial(coefficients: Floats) -> Floats:
    """1 + c₁ L + c₂ L² ..."""
    return np.concatenate((_ONE, coefficients))


def _explained(ar: Floats, ma: Floats, told: list[float], reach: list[list[float]]) -> tuple[float, float]:
    """What the state before the first date explains of the shocks' squares, and the determinant of I + P G.

    The state s moves by s' = T s + g e, T the companion of ar, g = ar + ma, so its covariance relative to the
    noise's variance solves P = T P Tᵀ + g gᵀ. A state of one in row k of s adds the echo, k dates later.

    Args:
        ar, ma: of the noise.
        told: (m,) products of the shocks with these echoes.
        reach: upper triangle of G, the echoes' products with each other; row k begins at column k.
    """
    m, p = max(len(ar), len(ma)), len(ar)
    drive = np.zeros(m)
    drive[:p] += ar
    drive[: len(ma)] += ma
    move = np.eye(m, k=1)
    move[:p, 0] = ar
    twice = (move[:, None, :, None] * move[None, :, None, :]).reshape(m * m, m * m)
    spread = np.linalg.solve(np.eye(m * m) - twice, np.outer(drive, drive).ravel()).reshape(m, m)
    upper = np.array([[0.0] * k + row for k, row in enumerate(reach)])
    inner = np.eye(m) + spread @ (upper + np.triu(upper, 1).T)
    found = np.linalg.solve(inner, spread @ np.array(told))
    return float(found @ told), float(np.linalg.det(inner))


def _explained_by_two(
    ar: list[float], ma: list[float], told: list[float], reach: list[list[float]]
) -> tuple[float, float]:
    """`_explained` written out for orders of up to 2, which most noise has."""
    a, b = (*ar, 0.0, 0.0)[:2]
    g, h = a + (*ma, 0.0)[0], b + (*ma, 0.0, 0.0)[1]
    first, both, second = (*reach[0], 0.0)[0], (*reach[0], 0.0)[1], reach[1][0] if len(reach) > 1 else 0.0
    u, v = (*told, 0.0)[:2]
    p = (g * g + h * h + 2 * a * g * h / (1 - b)) / (1 - a * a - b * b - 2 * a * a * b / (1 - b))
    q, r = (a * b * p + g * h) / (1 - b), b * b * p + h * h
    one, two = 1 + p * first + q * both, p * both + q * second
    three, four = q * first + r * both, 1 + q * both + r * second
    inner = one * four - two * three
    x, y = p * u + q * v, q * u + r * v
    return ((four * x - two * y) * u + (one * y - three * x) * v) / inner, inner
