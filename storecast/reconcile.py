"""Coherent forecasts: the series' forecasts moved so that their sums agree with what is known of the sums.

Sums of points that minimise RMSLE come out too low (each is a mean on the log scale), and errors that series
share (a payday, a strike) do not cancel in a sum. A sum's own forecast, made from its own history, has
neither fault, but sums of one level do not agree with those of another. Reconciliation takes both: it is
generalised least squares over all levels at once, with the inverse error variances as weights (MinT with a
diagonal covariance; Wickramasuriya, Athanasopoulos & Hyndman 2019, JASA 114:804). Every level is then the sum
of the same reconciled series, so any two agree by construction.

With m (n,) the series' forecasts and D (n, n) their error variances, t (a,) the sums' own forecasts and V
theirs, S (a, n) the sums, the minimiser of (b - m)ᵀD⁻¹(b - m) + (Sb - t)ᵀV⁻¹(Sb - t) is

    b = m + D Sᵀ x    with    (S D Sᵀ + V) x = t - S m.

The system is solved by conjugate gradients, in which S is only ever multiplied by: memory is a few arrays of
the size of the forecasts, whatever the number of series and of sums.
"""

from __future__ import annotations

import numpy as np

from storecast.hierarchy import Hierarchy
from storecast.panel import Floats

TOLERANCE = 1e-8
"""Relative size of what conjugate gradients leave of the right-hand side."""
MOST_STEPS = 500
MOST_ROUNDS = 8
"""How often series that would fall below 0 are held there and the rest is solved anew."""


def reconcile(
    hierarchy: Hierarchy, points: Floats, variance: Floats, own: Floats, own_variance: Floats
) -> Floats:
    """The series' forecasts, reconciled with the sums' own; sums of them are the coherent forecasts.

    Args:
        hierarchy: which sums there are.
        points: (n, H) forecasts of the series, ≥ 0.
        variance: (n, H) of their errors; a series without is not moved.
        own: (a, H) forecasts of the sums.
        own_variance: (a, H) of their errors; one that is infinite or 0 does not count.

    Returns:
        (n, H), ≥ 0. A series that least squares would take below 0 stays at 0, and the others make up for
        it.
    """
    trust = np.where(own_variance > 0, 1.0 / np.where(own_variance > 0, own_variance, 1.0), 0.0)
    base, free = points, np.maximum(variance, 0.0)
    for _ in range(MOST_ROUNDS):
        gap = np.where(trust > 0, np.sqrt(trust) * (own - hierarchy.sums(base)), 0.0)
        moved = base + free * hierarchy.spread(np.sqrt(trust) * _solved(hierarchy, free, trust, gap))
        below = moved < 0
        if not below.any():
            return moved
        base, free = np.where(below, 0.0, base), np.where(below, 0.0, free)
    return np.maximum(moved, 0.0)


def _solved(hierarchy: Hierarchy, free: Floats, trust: Floats, gap: Floats) -> Floats:
    """z of (I + T½ S D Sᵀ T½) z = gap for each date, by conjugate gradients with Jacobi's preconditioner."""
    root = np.sqrt(trust)
    scale = 1.0 / (1.0 + trust * hierarchy.sums(free))

    def applied(z: Floats) -> Floats:
        return z + root * hierarchy.sums(free * hierarchy.spread(root * z))

    z, rest = np.zeros_like(gap), gap.copy()
    step = scale * rest
    size = (rest * step).sum(axis=0)
    goal = TOLERANCE**2 * size
    for _ in range(MOST_STEPS):
        if (size <= goal).all():
            break
        along = applied(step)
        length = size / np.maximum((step * along).sum(axis=0), np.finfo(float).tiny)
        z, rest = z + length * step, rest - length * along
        before, size = size, (rest * scale * rest).sum(axis=0)
        step = scale * rest + step * (size / np.maximum(before, np.finfo(float).tiny))
    return z
