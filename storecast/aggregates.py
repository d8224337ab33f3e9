"""Forecasts of sums that agree with each other: by store, family, city, ..., and the total.

    reconciler = Reconciler.fit(hierarchy, folds)        how much the sums' own forecasts are to count
    means = reconciler.means(hierarchy, forecasts)       (n, H) of the series; sums of them are coherent
    tables = backtest_tables(hierarchy, folds)           each fold reconciled by what the folds before it show
    scores = level_scores(tables)                        of each level, before and after

A series' point (`yhat`) minimises RMSLE: it is a mean on the log scale and lies below the mean. So points
add up to too little, and a series has a second forecast, its `mean`. It is made in two steps. The lift adds
what a log-normal error as wide as the intervals makes of a log mean: (1 + yhat) · exp(lift · s² / 2) - 1.
Then reconciliation (`storecast.reconcile`) moves the series until their sums agree with forecasts that the
sums have of their own. Released sums are sums of means, so all levels agree.

How large the lift is and how far the sums' own forecasts are trusted, the earlier folds choose. A level whose
error would be larger in any of these folds, by WAPE or by RMSLE, is held: its sums stay the sums of points,
and what is moved is moved within them. The total is held unless its error falls clearly, in each of k folds
by 1 / (1 + k): what all series have in common is one observation per fold, too few to tell a bias of a per
cent from chance. Where nothing helps, all levels are held, and sums of points are released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
import pandas as pd

from storecast.hierarchy import TOTAL, Hierarchy
from storecast.metrics import squared_log_error
from storecast.panel import Floats
from storecast.reconcile import reconcile
from storecast.sums import LEVELS, miss_factors

LIFTS = (0.0, 1.0)
"""Parts of the log-normal correction that may be added."""

TRUSTS = (0.0, 0.1, 0.3, 1.0)
"""What the precision of the sums' own forecasts may be multiplied by."""

FEWEST_FOLDS = 2
"""Folds that must show that nothing is harmed; one is chance."""

HARM = 1e-4
"""A relative change of an error up to this is none."""

SURE = 1e-4
"""Variance of the sums of a level that is held, as a share of what its series' variances add up to."""

SMALLEST = 1e-9
"""An error below this is none: an error of 0 cannot be improved on."""

SD_OF_80 = 2.563
"""Width of the 80 % interval of a normal distribution in standard deviations."""

KINDS = {"points": "sum of points", "own": "own forecast", "mean": "reconciled"}
"""The forecasts of a sum that are scored, in words; a column of `backtest_tables` each."""

SCORES = ("wape", "rmsle", "bias")


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of n series and of their a sums over H dates, in units of sales.

    Attributes:
        dates: (H,).
        points: (n, H) the series' points.
        variance: (n, H) of their errors.
        log_variance: (n, H) of their errors on the scale of log(1+y).
        own: (a, H) the sums' own forecasts.
        own_variance: (a, H) of their errors.
    """

    dates: pd.DatetimeIndex
    points: Floats
    variance: Floats
    log_variance: Floats
    own: Floats
    own_variance: Floats


@dataclass(frozen=True, eq=False)
class Fold(Forecasts):
    """The same of a backtest's fold, with what happened.

    Attributes:
        cutoff: of the fold.
        actual: (n, H), NaN where it is not known.
    """

    cutoff: pd.Timestamp
    actual: Floats

    def sums(self, hierarchy: Hierarchy, values: Floats) -> Floats:
        """(a, H) sums of the series whose actual is known; NaN where none is."""
        known = np.isfinite(self.actual)
        some = hierarchy.sums(known.astype(np.float64)) > 0
        return np.where(some, hierarchy.sums(np.where(known, values, 0.0)), np.nan)

    def own_of_known(self, hierarchy: Hierarchy) -> Floats:
        """(a, H) the sums' own forecasts less what the series whose actual is not known have of them."""
        whole = hierarchy.sums(self.points)
        share = np.divide(self.sums(hierarchy, self.points), whole, out=np.ones_like(whole), where=whole > 0)
        return self.own * share


@dataclass(frozen=True)
class Reconciler:
    """How forecasts are reconciled, as earlier folds have shown.

    Attributes:
        lift: part of the log-normal correction that is added to points.
        trust: what the precision of the sums' own forecasts is multiplied by; 0: they do not count.
        held: the levels whose sums are sums of points. So are those of a level without a `scale`, which the
            folds did not have: a column that grouped no series then.
        scale: by level, the squared error of its own forecasts in units of the variance that they state.
    """

    lift: float
    trust: float
    held: tuple[str, ...]
    scale: Mapping[str, float]

    @classmethod
    def fit(cls, hierarchy: Hierarchy, folds: Sequence[Fold]) -> Self:
        """The lift and the trust with the smallest error, each with the levels held that it would harm.

        With fewer than `FEWEST_FOLDS` all levels are held: too little says that anything helps.
        """
        scale = {level: _scale(hierarchy, folds, level) for level in hierarchy.levels}
        best = cls(0.0, 0.0, tuple(hierarchy.levels), scale)
        if len(folds) < FEWEST_FOLDS:
            return best
        before, gain = _errors(hierarchy, folds, best), 0.0
        clear = np.where(np.array(hierarchy.levels) == TOTAL, -np.log1p(-1 / (1 + len(folds))), 0.0)
        for lift, trust in product(LIFTS, TRUSTS):
            tried = cls(lift, trust, (), scale)
            while len(tried.held) < len(hierarchy.levels) and lift + trust > 0:
                change = _change(before, _errors(hierarchy, folds, tried))
                harm = np.where(
                    np.isin(hierarchy.levels, tried.held), -np.inf, change.max(axis=(0, 2)) + clear
                )
                if harm.max() <= HARM:
                    if change.mean() < gain:
                        best, gain = tried, float(change.mean())
                    break
                tried = replace(tried, held=(*tried.held, hierarchy.levels[int(harm.argmax())]))
        return best

    def means(self, hierarchy: Hierarchy, forecasts: Forecasts) -> Floats:
        """(n, H) the series' forecasts whose sums are the coherent ones, ≥ 0."""
        points = forecasts.points
        if self.lift + self.trust == 0:
            return points
        levels = hierarchy.nodes["level"].to_numpy()
        held = (np.isin(levels, self.held) | ~np.isin(levels, list(self.scale)))[:, None]
        scale = np.array([self.scale.get(level, 1.0) for level in levels])[:, None]
        sure = SURE * hierarchy.sums(forecasts.variance)
        stated = forecasts.own_variance * scale / self.trust if self.trust else np.inf
        lifted = np.expm1(np.log1p(points) + self.lift * forecasts.log_variance / 2)
        if TOTAL in self.held:  # by the same share everywhere, so that the rest of the way is short
            lifted *= points.sum(axis=0) / np.maximum(lifted.sum(axis=0), SMALLEST)
        return reconcile(
            hierarchy,
            lifted,
            forecasts.variance,
            np.where(held, hierarchy.sums(points), forecasts.own),
            np.where(held, sure, stated),
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "lift": self.lift,
            "trust": self.trust,
            "held": list(self.held),
            "scale": dict(self.scale),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        scale = {str(level): float(value) for level, value in data["scale"].items()}
        return cls(float(data["lift"]), float(data["trust"]), tuple(data["held"]), scale)


def variances_of(quantiles: pd.DataFrame | Floats) -> tuple[Floats, Floats]:
    """Variance of a forecast's error from the ends (..., 2) of its 80 % interval.

    Returns:
        In squared units of sales, and on the scale of log(1+y).
    """
    ends = np.asarray(quantiles, dtype=np.float64)
    logs = np.log1p(ends)
    plain, log = (((x[..., 1] - x[..., 0]) / SD_OF_80) ** 2 for x in (ends, logs))
    return np.asarray(plain), np.asarray(log)


def honest_means(hierarchy: Hierarchy, folds: Sequence[Fold]) -> list[Floats]:
    """(n, H) of each fold, the earliest first: reconciled by what the folds before it show."""
    return [
        Reconciler.fit(hierarchy, folds[:number]).means(hierarchy, fold) for number, fold in enumerate(folds)
    ]


def backtest_tables(hierarchy: Hierarchy, folds: Sequence[Fold]) -> list[pd.DataFrame]:
    """What was forecast of each sum in each fold, beside what happened, with intervals.

    A fold is reconciled, and its intervals are told, by the folds before it; the first is not reconciled
    and has no intervals.

    Returns:
        A table per fold, by node and date: `level, value, ds, h, cutoff, y`; `points` (the sum of points),
        `own` (its own forecast) and `mean` (reconciled); `lower_80`, `upper_80`, ..., NaN where they are not
        told. Series whose actual is not known are left out of all of these.
    """
    means = honest_means(hierarchy, folds)
    tables: list[pd.DataFrame] = []
    for fold, mean in zip(folds, means, strict=True):
        columns = {
            "y": fold.sums(hierarchy, fold.actual),
            "points": fold.sums(hierarchy, fold.points),
            "own": fold.own_of_known(hierarchy),
            "mean": fold.sums(hierarchy, mean),
        }
        table = nodes_on_dates(hierarchy, fold.dates).assign(cutoff=fold.cutoff)
        table = table.assign(**{name: values.ravel() for name, values in columns.items()})
        tables.append(with_intervals(table, interval_factors(hierarchy, tables)))
    return tables


def level_scores(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Errors of each level by fold and by kind of forecast.

    Args:
        tables: of `backtest_tables`.

    Returns:
        `cutoff, level, nodes, kind, wape, rmsle, bias, coverage_80, coverage_95`, over all nodes and dates
        whose y is known: WAPE is Σ|forecast - y| / Σ|y|, bias Σ(forecast - y) / Σy, RMSLE pooled. `cutoff` is
        a fold's, or "all" for the folds that others precede (the first is not reconciled), which is where
        methods are to be compared. Coverage is that of the reconciled forecast; NaN without intervals.
    """
    parts = {str(table["cutoff"].iloc[0].date()): table for table in tables}
    parts["all"] = pd.concat(tables[1:] or tables)
    rows: list[dict[str, object]] = []
    for cutoff, part in parts.items():
        known = part[part["y"].notna()]
        for level, mine in known.groupby("level", sort=False):
            about = {"cutoff": cutoff, "level": level, "nodes": mine["value"].nunique()}
            y = mine["y"].to_numpy(np.float64)
            for kind in KINDS:
                scores = zip(SCORES, _scores(y, mine[kind].to_numpy(np.float64)), strict=True)
                rows.append({**about, "kind": kind, **dict(scores), **_coverage(mine, kind)})
    return pd.DataFrame(rows)


def interval_factors(hierarchy: Hierarchy, tables: Sequence[pd.DataFrame]) -> Floats:
    """(a, levels) by what factor each sum may be missed, from tables of earlier folds; NaN without any.

    A sum's own misses tell it; where they are too few, those of all sums of its level.
    """
    nodes = len(hierarchy.nodes)
    out = np.full((nodes, len(LEVELS)), np.nan)
    if not tables:
        return out
    y, mean = (
        np.hstack([table[name].to_numpy(np.float64).reshape(nodes, -1) for table in tables])
        for name in ("y", "mean")
    )
    for level in hierarchy.levels:
        rows = hierarchy.of_level(level)
        out[rows] = miss_factors(y[rows], mean[rows])
    return out


def with_intervals(table: pd.DataFrame, factors: Floats) -> pd.DataFrame:
    """A table with every node on every date, with the bounds that the nodes' factors (a, levels) give."""
    mean = table["mean"].to_numpy(np.float64).reshape(len(factors), -1)
    bounds: dict[str, Floats] = {}
    for k, level in enumerate(LEVELS):
        factor = factors[:, k : k + 1]
        bounds[f"lower_{round(100 * level)}"] = np.maximum((1 + mean) / factor - 1, 0.0).ravel()
        bounds[f"upper_{round(100 * level)}"] = ((1 + mean) * factor - 1).ravel()
    return table.assign(**bounds)


def nodes_on_dates(hierarchy: Hierarchy, dates: pd.DatetimeIndex) -> pd.DataFrame:
    """`level, value, ds, h` of every node on every date, by node."""
    nodes, days = len(hierarchy.nodes), len(dates)
    return pd.DataFrame(
        {
            "level": np.repeat(hierarchy.nodes["level"].to_numpy(), days),
            "value": np.repeat(hierarchy.nodes["value"].to_numpy(), days),
            "ds": np.tile(dates.to_numpy(), nodes),
            "h": np.tile(np.arange(1, days + 1, dtype=np.int32), nodes),
        }
    )


def _scale(hierarchy: Hierarchy, folds: Sequence[Fold], level: str) -> float:
    """The squared error of a level's own forecasts over the variance that they state; 1 without folds."""
    rows, error, stated = hierarchy.of_level(level), 0.0, 0.0
    for fold in folds:
        miss = (fold.own_of_known(hierarchy) - fold.sums(hierarchy, fold.actual))[rows]
        known = np.isfinite(miss)
        error += float((miss[known] ** 2).sum())
        stated += float(fold.own_variance[rows][known].sum())
    return error / stated if error > 0 and stated > 0 else 1.0


def _change(before: Floats, after: Floats) -> Floats:
    """Logs of the ratios of errors."""
    return np.asarray(np.log(np.maximum(after, SMALLEST) / np.maximum(before, SMALLEST)))


def _errors(hierarchy: Hierarchy, folds: Sequence[Fold], reconciler: Reconciler) -> Floats:
    """(folds, L, 2) WAPE and RMSLE of each level in each fold; 0 where there is nothing to score."""
    out = np.zeros((len(folds), len(hierarchy.levels), 2))
    for number, fold in enumerate(folds):
        y = fold.sums(hierarchy, fold.actual)
        told = fold.sums(hierarchy, reconciler.means(hierarchy, fold))
        for k, level in enumerate(hierarchy.levels):
            rows = np.isfinite(y) & hierarchy.of_level(level)[:, None]
            out[number, k] = _scores(y[rows], told[rows])[:2]
    return np.nan_to_num(out)


def _scores(y: Floats, told: Floats) -> tuple[float, float, float]:
    """WAPE, RMSLE and bias; NaN where there is nothing to divide by."""
    volume = np.abs(y).sum()
    if not volume > 0:
        return np.nan, float(np.sqrt(squared_log_error(y, told).mean())) if len(y) else np.nan, np.nan
    wape, bias = np.abs(told - y).sum() / volume, (told - y).sum() / y.sum()
    return float(wape), float(np.sqrt(squared_log_error(y, told).mean())), float(bias)


def _coverage(rows: pd.DataFrame, kind: str) -> dict[str, float]:
    """Share of what happened inside the intervals, which are the reconciled forecast's; NaN without."""
    out: dict[str, float] = {}
    for name in (f"{round(100 * level)}" for level in LEVELS):
        told = rows[rows[f"upper_{name}"].notna()]
        inside = (told["y"] >= told[f"lower_{name}"]) & (told["y"] <= told[f"upper_{name}"])
        out[f"coverage_{name}"] = float(inside.mean()) if kind == "mean" and len(told) else np.nan
    return out
