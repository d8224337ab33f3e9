"""Does a series show a season of the year? What its own history says of some effects among others.

A year of a series that wanders, prices for example, looks like a season: level and season are told apart by
differences, where a wandering level is noise. There the F statistic of a wave's effects (Wald) compares what
they explain with that noise. About 1 is what chance gives, and effects are shrunk by the share of F that
chance explains, to nothing where that is all: the positive-part rule of James and Stein (1961), with a
threshold in place of its constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats

SINGULAR = 1e-8
"""Directions with less than this share of the most information are told by nothing."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Normal equations of ridge least squares, A b = y with weights W.

    Attributes:
        inner: (K, K) A'WA, without the penalty.
        outer: (K,) A'Wb.
        penalty: (K,) penalty of each effect.
    """

    inner: Floats
    outer: Floats
    penalty: Floats

    @classmethod
    def of(cls, a: Floats, y: Floats, penalty: Floats, weight: Floats | None = None) -> Self:
        """From (N, K) columns, (N,) values, (K,) penalties and (N,) weights; None: all 1."""
        weighted = a.T if weight is None else a.T * weight
        return cls(weighted @ a, weighted @ y, penalty)

    @cached_property
    def solution(self) -> Floats:
        """(K,) effects."""
        return np.asarray(self._inverse @ self.outer)

    def evidence(self, chosen: NDArray[np.bool_], variance: float) -> float:
        """F statistic of the chosen effects, unpenalised, beside all others; 0 where there is none to tell.

        What the others leave to be told by them is the inverse of the inverse's own block, less the penalty.

        Args:
            chosen: (K,) which effects.
            variance: of the residuals.
        """
        count = int(chosen.sum())
        if not count or variance <= 0:
            return 0.0
        penalised = np.linalg.inv(self._inverse[np.ix_(chosen, chosen)])
        inner, outer = penalised - np.diag(self.penalty[chosen]), penalised @ self.solution[chosen]
        return float(outer @ np.linalg.pinv(inner, rcond=SINGULAR, hermitian=True) @ outer / count / variance)

    def shrunken(self, groups: Sequence[NDArray[np.bool_]], variance: float, threshold: float) -> Floats:
        """(K,) effects: those of each group times max(0, 1 - threshold / F), the others solved beside these.

        Args:
            groups: (K,) which effects, of each group; no effect is in two.
            variance: of the residuals.
            threshold: F of a group up to which it counts as chance.
        """
        found = self.solution.copy()
        if threshold <= 0 or not any(group.any() for group in groups):
            return found
        for group in groups:
            evidence = self.evidence(group, variance)
            found[group] *= max(0.0, 1.0 - threshold / evidence) if evidence > 0 else 0.0
        chosen = np.logical_or.reduce(groups)
        moved = np.linalg.solve(self._inverse[np.ix_(chosen, chosen)], (found - self.solution)[chosen])
        found[~chosen] += self._inverse[np.ix_(~chosen, chosen)] @ moved
        return found

    @cached_property
    def _inverse(self) -> Floats:
        """(K, K) of the penalised equations."""
        return np.asarray(np.linalg.inv(self.inner + np.diag(self.penalty)))
