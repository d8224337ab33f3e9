"""Groups of series that share a static value, or a pair of them: a store, a family, a family in a city."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from storecast.panel import Floats

Pair: TypeAlias = tuple[str, str]


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

    def design(self) -> sparse.csr_matrix:
        """(n, size) which series is of which value: a column of ones and zeros for each."""
        rows = np.arange(len(self.codes) + 1)
        return sparse.csr_matrix((np.ones(len(self.codes)), self.codes, rows), (len(self.codes), self.size))

    def _sum(self, values: Floats) -> Floats:
        out = np.empty((self.size, values.shape[1]))
        for h in range(values.shape[1]):
            out[:, h] = np.bincount(self.codes, weights=values[:, h], minlength=self.size)
        return out


class Peers:
    """All groupings that the static covariates of a panel give.

    Attributes:
        groups: by each static column.
        pairs: by each pair of columns in `pairs` (of all that are `telling_pairs` where it is None).
    """

    def __init__(self, static: pd.DataFrame, pairs: Sequence[Pair] | None = None) -> None:
        self.groups = {str(name): _grouped(static[name]) for name in static.columns}
        chosen = telling_pairs(static) if pairs is None else pairs
        self.pairs = {(one, other): _crossed(self.groups[one], self.groups[other]) for one, other in chosen}

    def expected(self, level: Floats) -> Floats:
        """(n,) the level that a series' groups let expect, at least 0."""
        centre, effects = self.effects(level)
        if not effects:
            return np.full(len(level), max(centre, 0.0))
        fitted: Floats = np.maximum(centre + self._design @ np.concatenate([*effects.values()]), 0.0)
        return fitted

    def effects(self, level: Floats) -> tuple[float, dict[str, Floats]]:
        """The mean of the levels (n,) that are known, and how far from it each value of each group lies:
        ridge regression on the static values. The values of a group are sorted."""
        known = ~np.isnan(level)
        centre = float(level[known].mean()) if known.any() else 0.0
        if not known.any() or not self.groups:
            return centre, {name: np.zeros(group.size) for name, group in self.groups.items()}
        x = self._design[known]
        gram = x.T @ x + sparse.identity(x.shape[1])
        target = x.T @ (level[known] - centre)
        weights = sparse.linalg.spsolve(gram.tocsc(), target, permc_spec="MMD_AT_PLUS_A")
        ends = np.cumsum([group.size for group in self.groups.values()])
        return centre, dict(zip(self.groups, np.split(weights, ends[:-1]), strict=True))

    @cached_property
    def _design(self) -> sparse.csr_matrix:
        """(n, k) which series is of which value, of all groups."""
        return sparse.hstack([group.design() for group in self.groups.values()], format="csr")


def telling_pairs(static: pd.DataFrame) -> list[Pair]:
    """The pairs of static columns that group the series in a way of their own.

    They have at least twice as many values together as each has alone (a store and its city do not), and
    at least two series per value on average.
    """
    groups = {str(name): _grouped(static[name]) for name in static.columns}
    found = []
    for one, other in combinations(groups, 2):
        alone = max(groups[one].size, groups[other].size)
        if 2 * alone <= _crossed(groups[one], groups[other]).size <= len(static) / 2:
            found.append((one, other))
    return found


def _grouped(column: pd.Series) -> Group:
    codes, values = pd.factorize(column, sort=True)
    return Group(codes.astype(np.int64), len(values))


def _crossed(one: Group, other: Group) -> Group:
    values, codes = np.unique(one.codes * other.size + other.codes, return_inverse=True)
    return Group(codes.astype(np.int64), len(values))
