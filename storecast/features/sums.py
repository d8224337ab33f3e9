"""Cumulative sums over time: the mean of any window at any cutoff is two look-ups and a division."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]


class RunningSum:
    """Sums of values over windows of time; counts stay whole numbers, in a fraction of the memory.

    Each window's sum depends on the values inside it alone (sums are kept per row from the start of
    the axis, so nothing after the window's end is touched).

    Args:
        values: (n, T - first) from position `first` on; what is true counts 1.
        stride: 1 sums consecutive dates, 7 sums every 7th (the same weekday).
        first: position of the first value, a multiple of the stride: no window may begin before it, but
            where it is 0, before which nothing counts.
    """

    def __init__(self, values: Floats | Bools, stride: int = 1, first: int = 0) -> None:
        self.stride, self.first = stride, first
        n, t = values.shape
        width = -(-t // stride) * stride
        counts: type[np.number] = np.int16 if t <= np.iinfo(np.int16).max else np.int32
        kind = counts if values.dtype == np.bool_ else np.float64
        self._sums: NDArray[np.number] = np.zeros((n, stride + width), dtype=kind)
        self._sums[:, stride : stride + t] = values
        steps = self._sums.reshape(n, -1, stride)
        np.cumsum(steps, axis=1, out=steps)

    def over(self, last: int | Ints, n: int) -> NDArray[np.number]:
        """Sum of the `n` values that end at position `last` (a scalar gives (n_series,), an array of
        positions (n_series, len)); 0 before the start.

        Raises:
            IndexError: the window begins before what is kept.
        """
        end = np.asarray(last) - self.first + self.stride
        if self.first and (end < n * self.stride).any():
            raise IndexError(f"sums are kept from position {self.first} on; asked: {n} up to {last}")
        start = np.maximum(end - n * self.stride, np.asarray(end) % self.stride)
        end = np.maximum(end, start)
        total: NDArray[np.number] = self._sums[:, end] - self._sums[:, start]
        return total


class RunningMean:
    """Means over windows of time, of those values that count.

    Args:
        total: sums of the values, with 0 for those that do not count.
        count: how many count.
    """

    def __init__(self, total: RunningSum, count: RunningSum) -> None:
        self._total, self._count = total, count

    @classmethod
    def of(cls, values: Floats, where: Bools, stride: int = 1, first: int = 0) -> RunningMean:
        """Means of `values` (n, T - first) where `where` is true; outside they may be anything, NaN too."""
        total = RunningSum(np.where(where, values, 0.0), stride, first)
        return cls(total, RunningSum(where, stride, first))

    def over(self, last: int | Ints, n: int) -> Floats:
        """Mean of the `n` values that end at position `last` (a scalar gives (n_series,), an array of
        positions (n_series, len)); NaN where none of them counts or `last` is before the start."""
        count = self._count.over(last, n)
        mean: Floats = np.where(count > 0, self._total.over(last, n) / np.maximum(count, 1), np.nan)
        return mean


@dataclass(frozen=True)
class Kept:
    """Which dates of the past are worth keeping sums of, for cutoffs from one on.

    Attributes:
        week: dates in a week.
        start: position of the first cutoff that is asked for; None: any, so all dates are kept.
        reach: weeks before it at which the values begin that sums are made of.
    """

    week: int
    start: int | None = None
    reach: int = 0

    def first(self, weeks: int) -> int:
        """Position of the first date that a window of so many weeks may hold, a multiple of a week."""
        return 0 if self.start is None else max(self.start // self.week - weeks, 0) * self.week

    def cut(self, weeks: int, values: NDArray[Any]) -> NDArray[Any]:
        """Values (n, dates from `first(reach)` on) without what lies before windows of so many weeks."""
        return values[:, self.first(weeks) - self.first(self.reach) :]

    def sums(self, weeks: int, values: Floats | Bools) -> RunningSum:
        """Sums over windows of at most so many weeks."""
        return RunningSum(self.cut(weeks, values), first=self.first(weeks))

    def means(self, weeks: int, values: Floats, where: Bools, stride: int = 1) -> RunningMean:
        """Means over windows of at most so many weeks, of `values` where `where` is true."""
        some = self.cut(weeks, values), self.cut(weeks, where)
        return RunningMean.of(*some, stride, self.first(weeks))
