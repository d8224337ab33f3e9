"""The choice of blend weights from backtest errors.

Weights are chosen per segment, on the scale of log(1+y) where RMSLE lives: non-negative, summing to 1, and
minimising the squared error of the weighted mean. Since the weights sum to 1, that error is wᵀAw with A the
matrix of summed products of the models' errors, so a segment is one small matrix whatever its number of rows.

Weights hold for the usual case. Where a season begins that a model cannot see, its forecast is off by far
more than the folds before have shown, and a mean follows it. So before averaging, each model is held within a
band around the leading one, the model with the smallest error in these folds.

A series without history is a segment of its own, `NEW`: only models that forecast it from its peers count, by
their overall weights. What the others say of it, zero, is no forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.metrics import KEYS
from storecast.panel import Floats
from storecast.segments import VOLUME
from storecast.side_by_side import POINTS, SideBySide

BLEND = "blend"
"""Model name of the blend's rows in the cv table."""

NEW = "new"
"""Segment of a series without history, whatever its other segment is."""

SHRINKAGE = 4000.0
"""Rows of evidence at which a segment's own weights count as much as the global ones."""

BAND = 0.75
"""How far from the leading model another may stray, on the scale of log(1+y); further counts as the edge."""


@dataclass(frozen=True)
class BlendWeights:
    """Weights of the models, one set per segment and one for series whose segment has none.

    Attributes:
        models: names, in the order of the weights.
        overall: (M,) weights for any series.
        column: the segment column they were chosen by.
        segments: (M,) weights by segment value.
        leader: the model around which the others are held; "" holds none.
        band: how far they may stray from it, on the scale of log(1+y).
        peers: the models that forecast a series without history from its peers; none where that is not known.
    """

    models: tuple[str, ...]
    overall: tuple[float, ...]
    column: str
    segments: Mapping[str, tuple[float, ...]]
    leader: str = ""
    band: float = BAND
    peers: tuple[str, ...] = ()

    def held(self, logs: Floats, segments: Sequence[str | None]) -> Floats:
        """Forecasts (1 + Q, n, ..., M) on the log scale, points first, with every model held in the band.

        A model's quantiles move with its point. New series are not held to a leader that does not know them.
        """
        if not self.leader:
            return logs
        held = _held(logs, self.models.index(self.leader), self.band)
        if self.leader not in self.peers and NEW in segments:
            new = np.array([name == NEW for name in segments])
            held[:, new] = logs[:, new]
        return held

    def rows(self, segments: Sequence[str | None]) -> Floats:
        """(n, M) weights of n series by their segments; an unknown segment gets the overall ones."""
        if not len(segments):
            return np.empty((0, len(self.models)))
        table = {**self.segments, NEW: self._of_new()}
        return np.array([table.get(str(name), self.overall) for name in segments])

    def _of_new(self) -> tuple[float, ...]:
        """The overall weights of the models that forecast new series; equal ones where these have none."""
        able = [name in self.peers for name in self.models]
        if not any(able):
            return self.overall
        share = np.where(able, self.overall, 0.0)
        return tuple(share / share.sum() if share.sum() > 0 else np.array(able) / sum(able))

    def to_frame(self) -> pd.DataFrame:
        """Columns `segment, model, weight`; the overall weights are segment "all"."""
        table = {"all": self.overall, **self.segments}
        return pd.DataFrame(
            [
                (name, model, weight)
                for name, weights in table.items()
                for model, weight in zip(self.models, weights, strict=True)
            ],
            columns=["segment", "model", "weight"],
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "models": list(self.models),
            "overall": list(self.overall),
            "column": self.column,
            "segments": {name: list(weights) for name, weights in self.segments.items()},
            "leader": self.leader,
            "band": self.band,
            "peers": list(self.peers),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        return cls(
            models=tuple(data["models"]),
            overall=tuple(data["overall"]),
            column=data["column"],
            segments={name: tuple(weights) for name, weights in data["segments"].items()},
            leader=str(data["leader"]),
            band=float(data["band"]),
            peers=tuple(data.get("peers", ())),
        )


def simplex_weights(products: Floats) -> Floats:
    """argmin wᵀAw over w ≥ 0, Σw = 1, for a positive semi-definite A of shape (M, M).

    With A = LᵀL the minimiser u ≥ 0 of |Lu|² + (1ᵀu - 1)² satisfies the same optimality conditions up to its
    scale, so one non-negative least squares (Lawson & Hanson 1974) and a division give it exactly.
    """
    from scipy.optimize import nnls

    size = len(products)
    level = np.trace(products) / size
    if level <= 0:
        return np.full(size, 1.0 / size)
    values, vectors = np.linalg.eigh(products / level)
    root = np.sqrt(np.maximum(values, 1e-10))[:, None] * vectors.T
    solution, _ = nnls(np.vstack([root, np.ones(size)]), np.append(np.zeros(size), 1.0))
    return np.asarray(solution / solution.sum())


def fit_weights(
    cv: pd.DataFrame,
    column: str = VOLUME,
    shrinkage: float = SHRINKAGE,
    band: float = BAND,
    peers: Sequence[str] = (),
) -> BlendWeights:
    """Weights per value of `column` from all folds of the cv table, for the models held in the band.

    A segment of n rows gets (n·own + shrinkage·global) / (n + shrinkage): small segments stay near the global
    weights.

    Args:
        cv: the cv table of the models to blend, each with the same rows, and with `column`.
        column: segment column, e.g. "volume" or a static one.
        shrinkage: in rows, ≥ 0.
        band: how far from the leading model another may stray, on the scale of log(1+y).
        peers: the models that forecast a series without history from its peers.

    Raises:
        DataError: a column is missing, or the models do not have the same rows.
    """
    table = SideBySide.of(cv, column, POINTS)
    known = np.isfinite(table.y) & np.asarray(table.segments != NEW)
    squares = np.zeros(len(table.models))
    for _, errors in _errors(table, known):
        squares += (errors**2).sum(axis=0)
    leader = int(squares.argmin())
    names, size = list(map(str, table.segments.categories)), len(table.models)
    rows, products = np.zeros(len(names), dtype=np.int64), np.zeros((len(names), size, size))
    for part, errors in _errors(table, known, leader, band):
        codes = table.segments.codes[part][known[part]]
        for code in np.unique(codes):
            mine = errors[codes == code]
            rows[code] += len(mine)
            products[code] += mine.T @ mine
    overall = simplex_weights(products.sum(axis=0))
    found: dict[str, tuple[float, ...]] = {}
    for code in np.flatnonzero(rows):
        share = rows[code] / (rows[code] + shrinkage)
        found[names[int(code)]] = _clean(share * simplex_weights(products[code]) + (1 - share) * overall)
    able, lead = _among(peers, table.models), table.models[leader]
    return BlendWeights(tuple(table.models), _clean(overall), column, found, lead, band, able)


def honest_folds(
    cv: pd.DataFrame,
    column: str = VOLUME,
    naive: str = "naive",
    peers: Sequence[str] = (),
) -> Iterator[tuple[pd.DataFrame, Callable[[], pd.DataFrame]]]:
    """Each fold's rows of the blend, and a call for the blend of the folds before it by the same weights.

    A fold is weighted by what the folds before it show. Rows have the cv table's columns (and `column`) and
    the model "blend"; points and quantiles are weighted means, on the first fold medians, of the models' on
    the log(1+y) scale.

    What is learnt from that blend holds for the fold's: each fold's own blend was made by other weights. The
    first fold has none before it: its blend is the median of all models but the naive, which one model that
    is far off does not move (as Petropoulos & Svetunkov 2020 combine), and the call gives no rows.
    """
    cutoffs = sorted(cv["cutoff"].unique())
    for number, cutoff in enumerate(cutoffs):
        rows = cv[cv["cutoff"] == cutoff]
        if number:
            earlier = cv.loc[cv["cutoff"] < cutoff, [*KEYS, "model", "y", *POINTS, column]]
            weights = fit_weights(earlier, column, peers=peers)
            del earlier
            yield blend_rows(rows, weights), partial(blend_folds, cv, weights, cutoffs[:number])
        else:
            better = rows[rows["model"] != naive]
            median = _median_rows(rows if better.empty else better, column, peers)
            yield median, partial(median.head, 0)


def blend_folds(cv: pd.DataFrame, weights: BlendWeights, cutoffs: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """The cv rows of the blend of some folds by given weights, one fold at a time."""
    return pd.concat(
        [blend_rows(cv[cv["cutoff"] == cutoff], weights) for cutoff in cutoffs], ignore_index=True
    )


def blend_rows(cv: pd.DataFrame, weights: BlendWeights) -> pd.DataFrame:
    """The cv rows of the blend of the table's models by given weights."""
    chosen = cv[cv["model"].isin(weights.models)]
    table = SideBySide.of(chosen, weights.column)
    if tuple(table.models) != tuple(sorted(weights.models)):
        raise DataError(
            "the cv table lacks a model of the blend",
            expected=", ".join(sorted(weights.models)),
            found=", ".join(table.models),
        )
    order = [table.models.index(name) for name in weights.models]

    def blend(logs: Floats, segments: list[str]) -> Floats:
        held = weights.held(logs[..., order], segments)
        return np.asarray((weights.rows(segments) * held).sum(axis=-1))

    return table.blended(BLEND, weights.column, blend)


def _median_rows(cv: pd.DataFrame, column: str, peers: Sequence[str]) -> pd.DataFrame:
    """The cv rows of the median of the table's models; of a new series, of those that forecast one."""
    table = SideBySide.of(cv, column)
    able = np.isin(table.models, list(peers))

    def blend(logs: Floats, segments: list[str]) -> Floats:
        median = np.median(logs, axis=-1)
        if able.any() and NEW in segments:
            new = np.array([name == NEW for name in segments])
            median[:, new] = np.median(logs[:, new][..., able], axis=-1)
        return np.asarray(median)

    return table.blended(BLEND, column, blend)


def _errors(
    table: SideBySide, known: NDArray[np.bool_], leader: int | None = None, band: float = 0.0
) -> Iterator[tuple[slice, Floats]]:
    """Some rows at a time, and the (known rows, M) errors of their points, held by any leader."""
    for part in table.parts():
        points = table.logs[0, part][known[part]]
        held = points if leader is None else _within(points, leader, band)
        yield part, held - np.log1p(table.y[part][known[part]])[:, None]


def _held(logs: Floats, leader: int, band: float) -> Floats:
    """(1 + Q, ..., M) forecasts, each moved so that its point, logs[0], lies within the leader's band."""
    held: Floats = logs + (_within(logs[0], leader, band) - logs[0])
    return held


def _within(points: Floats, leader: int, band: float) -> Floats:
    """(..., M) points, those beyond the leader's band at its edge."""
    lead = points[..., leader, None]
    return np.clip(points, lead - band, lead + band)


def _among(peers: Sequence[str], models: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in models if name in peers)


def _clean(weights: Floats) -> tuple[float, ...]:
    """Rounded to 6 digits and summing to 1, so that weights read well and save to the same bytes."""
    rounded = np.round(np.where(weights < 1e-4, 0.0, weights), 6)
    return tuple(float(value) for value in rounded / rounded.sum())
