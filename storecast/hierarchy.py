"""Which sums of series a panel has: one for each value of each static column, and the total.

The groupings cross each other (a store's families, a family's stores), so the sums form no tree but what
Hyndman & Athanasopoulos (Forecasting: Principles and Practice, 3rd ed., 11.1) call a grouped structure. A
level is a static column, a node one of its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import ConfigError
from storecast.panel import Floats, Panel

TOTAL = "total"
"""Level of the sum of all series."""

EVERYTHING = "all"
"""Value of the total's only node."""

MOST_FORECAST = 2000
"""Sums of a level that are forecast as series of their own; a level of more has too many to train on."""

PORTION = 64
"""Dates that are summed at once."""


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """The sums of n series: `a` nodes in `L` levels, the total first.

    Attributes:
        nodes: (a,) frame of `level, value`; a level's nodes lie together, sorted by value.
        codes: (L, n) the node of each series in each level.
    """

    nodes: pd.DataFrame
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, static: pd.DataFrame) -> Self:
        """The total and the levels of a panel's static columns, each that groups series.

        A column with one value for all says what the total says, and one that names each series says what
        the series say: they are no levels.
        """
        parts, codes = (
            [pd.DataFrame({"level": [TOTAL], "value": [EVERYTHING]})],
            [np.zeros(len(static), dtype=np.int64)],
        )
        first = 1
        for name in map(str, static.columns):
            found, values = pd.factorize(static[name].astype(str), sort=True)
            if 1 < len(values) < len(static):
                parts.append(pd.DataFrame({"level": name, "value": values.astype(object)}))
                codes.append(found + first)
                first += len(values)
        nodes = pd.concat(parts, ignore_index=True).astype(object)
        return cls(nodes, np.array(codes, dtype=np.int64))

    @property
    def levels(self) -> list[str]:
        """Names of the levels, the total first."""
        return list(dict.fromkeys(self.nodes["level"]))

    @property
    def names(self) -> NDArray[np.object_]:
        """(a,) "level|value" of each node."""
        joined = self.nodes["level"] + "|" + self.nodes["value"]
        return joined.to_numpy(dtype=object)

    def of_level(self, level: str) -> NDArray[np.bool_]:
        """(a,) which nodes belong to a level."""
        return np.asarray(self.nodes["level"] == level)

    def sums(self, values: Floats) -> Floats:
        """(n, H) → (a, H): the sum of each node's series."""
        return np.asarray(self._matrix @ values)

    def spread(self, values: Floats) -> Floats:
        """(a, H) → (n, H): for each series the sum over the nodes that it is part of."""
        return np.asarray(self._matrix.T @ values)

    @cached_property
    def _matrix(self) -> Any:
        """(a, n) sparse matrix of ones: which series are in which node."""
        from scipy.sparse import csr_array

        levels, n = self.codes.shape
        where = (self.codes.ravel(), np.tile(np.arange(n), levels))
        return csr_array((np.ones(levels * n), where), shape=(len(self.nodes), n))


def level_named(levels: list[str], name: str) -> str:
    """The level of this name, or the only one whose name begins so: "store" is "store_nbr".

    Raises:
        ConfigError: there is none, or there are several.
    """
    found = [level for level in levels if level.startswith(name)]
    if name in levels:
        found = [name]
    if len(found) != 1 or not name:
        raise ConfigError(
            f"{'no level' if not found else 'more than one level'} of sums is called {name!r}",
            expected=f"one of {', '.join(levels)}",
            found=", ".join(found) if found else "",
            cure="name a level in full",
        )
    return found[0]


def aggregated(panel: Panel, hierarchy: Hierarchy, most: int = MOST_FORECAST) -> Panel:
    """The nodes as a panel of their own: sums of sales, means of covariates.

    Levels of more than `most` nodes are left out. A date's sum leaves out the series that were not observed
    on it, and is NaN where none was. Static are the level, and of each column the value that all series of
    the node share ("" where they differ), so that a city's holidays count for its stores and for itself.
    """
    static = pd.DataFrame({"level": hierarchy.nodes["level"].astype(str)})
    for name in map(str, panel.static.columns):
        found, values = pd.factorize(panel.static[name].astype(str), sort=True)
        lowest, highest = _extremes(hierarchy, found)
        static[name] = np.where(lowest == highest, np.asarray(values, dtype=object)[lowest], "")
    names = hierarchy.names
    few = hierarchy.nodes.groupby("level")["value"].transform("size").to_numpy() <= most
    order = np.argsort(names)
    order = order[few[order]]

    def means(x: Floats) -> Floats:
        total, count = observed_sums(hierarchy, x)
        return np.asarray(total / np.where(count > 0, count, np.nan))[order]

    return Panel(
        ids=names[order],
        dates=panel.dates,
        y=observed_sums(hierarchy, panel.y)[0][order],
        static=static.iloc[order].set_index(pd.Index(names[order], name="unique_id")),
        freq=panel.freq,
        cutoff=panel.cutoff,
        known={name: means(x) for name, x in panel.known.items()},
        past={name: means(x) for name, x in panel.past.items()},
        events=panel.events,
        unplanned=panel.unplanned,
    )


def observed_sums(hierarchy: Hierarchy, values: Floats) -> tuple[Floats, Floats]:
    """(a, T) the sum of each node's values that are known, NaN where none is, and how many are.

    Dates are taken in portions, so that memory holds little more than the result.
    """
    total, count = np.empty((2, len(hierarchy.nodes), values.shape[1]))
    for start in range(0, values.shape[1], PORTION):
        part = values[:, start : start + PORTION]
        known = np.isfinite(part)
        count[:, start : start + PORTION] = hierarchy.sums(known.astype(np.float64))
        total[:, start : start + PORTION] = hierarchy.sums(np.where(known, part, 0.0))
    return np.where(count > 0, total, np.nan), count


def _extremes(hierarchy: Hierarchy, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(a,) smallest and largest code among each node's series."""
    nodes = hierarchy.codes.ravel()
    each = np.tile(codes, len(hierarchy.codes))
    lowest = np.full(len(hierarchy.nodes), codes.max(initial=0))
    highest = np.zeros(len(hierarchy.nodes), dtype=np.int64)
    np.minimum.at(lowest, nodes, each)
    np.maximum.at(highest, nodes, each)
    return lowest, highest
