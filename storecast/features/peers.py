"""Groups of series that share a static value: a store, a family, a city."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.panel import Floats


@dataclass(frozen=True, eq=False)
class Group:
    """The series by their value of one static covariate: codes (n,) in 0..size-1."""

    codes: NDArray[np.int64]
    size: int

    def mean(self, values: Floats) -> Floats:
        """(n, H) → (n, H): for each series the mean over its group; 0 where the group has no value."""
        good = ~np.isnan(values)
        return (self._sum(np.where(good, values, 0.0)) / np.maximum(self._sum(good.astype(float)), 1))[
            self.codes
        ]

    def _sum(self, values: Floats) -> Floats:
        out = np.empty((self.size, values.shape[1]))
        for h in range(values.shape[1]):
            out[:, h] = np.bincount(self.codes, weights=values[:, h], minlength=self.size)
        return out


class Peers:
    """All groupings that the static covariates of a panel give."""

    def __init__(self, static: pd.DataFrame) -> None:
        self.groups: dict[str, Group] = {}
        for name in static.columns:
            codes, values = pd.factorize(static[name], sort=True)
            self.groups[str(name)] = Group(codes.astype(np.int64), len(values))

    def expected(self, level: Floats) -> Floats:
        """(n,) the level that a series' groups let expect: ridge regression on the static values."""
        known = ~np.isnan(level)
        if not known.any():
            return np.zeros(len(level))
        blocks = [np.eye(group.size)[group.codes] for group in self.groups.values()]
        design = np.concatenate([*blocks, np.empty((len(level), 0))], axis=1)
        centre = level[known].mean()
        x = design[known]
        gram = x.T @ x + np.eye(x.shape[1])
        weights = np.linalg.solve(gram, x.T @ (level[known] - centre))
        fitted: Floats = np.maximum(centre + design @ weights, 0.0)
        return fitted
