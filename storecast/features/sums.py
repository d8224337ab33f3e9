"""Cumulative sums over time: the mean of any window at any cutoff is two look-ups and a division."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class RunningMean:
    """Means of `values` where `where` is true, over windows of time.

    Each window's mean depends on the values inside it alone (sums are kept per row from the start of
    the axis, so nothing after the window's end is touched).

    Args:
        values: (n, T); what lies outside `where` may be anything, NaN too.
        where: (n, T) which values count.
        stride: 1 sums consecutive dates, 7 sums every 7th (the same weekday).
    """

    def __init__(self, values: Floats, where: Bools, stride: int = 1) -> None:
        self.stride = stride
        self._sums = _strided(np.where(where, values, 0.0), stride)
        self._counts = _strided(where.astype(np.float64), stride)

    def over(self, last: int | Ints, n: int) -> Floats:
        """Mean of the `n` values that end at position `last` (a scalar gives (n_series,), an array of
        positions (n_series, len)); NaN where none of them counts or `last` is before the start."""
        end = np.asarray(last) + self.stride
        start = np.maximum(end - n * self.stride, np.asarray(end) % self.stride)
        end = np.maximum(end, start)
        count = self._counts[:, end] - self._counts[:, start]
        total = self._sums[:, end] - self._sums[:, start]
        mean: Floats = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        return mean


def _strided(values: Floats, stride: int) -> Floats:
    """(n, T + stride) sums: column p + stride holds value p plus all those whole strides before it."""
    n, t = values.shape
    width = -(-t // stride) * stride
    padded = np.zeros((n, width))
    padded[:, :t] = values
    sums = np.cumsum(padded.reshape(n, -1, stride), axis=1).reshape(n, width)
    return np.concatenate([np.zeros((n, stride)), sums], axis=1)[:, : t + stride]
