"""Wide arrays (series, dates, channels): padding, moving sums, and gathering windows of them on a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from storecast.panel import Floats


def to_device(device: torch.device, array: np.ndarray) -> Tensor:
    """The array as float32 on the device."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


def take(wide: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """(*positions.shape, ...) of a wide tensor (n, width, ...); the first axis of `positions` is `rows`'."""
    start = (rows * wide.shape[1]).reshape(-1, *(1,) * (positions.dim() - 1))
    flat = wide.flatten(0, 1).index_select(0, (start + positions).reshape(-1))
    return flat.reshape(*positions.shape, *wide.shape[2:])


def pad(array: np.ndarray, left: int) -> np.ndarray:
    """(n, left + T, ...) the array with so many zeros before its first date."""
    return np.pad(array, ((0, 0), (left, 0), *((0, 0),) * (array.ndim - 2)))


def rolling(values: Floats, length: int, stride: int = 1) -> Floats:
    """Sum of the last `length` values, `stride` apart, at each position (axis 1)."""
    steps = -(-values.shape[1] // stride) + length
    out = np.zeros((values.shape[0], steps * stride, *values.shape[2:]))
    out[:, length * stride : length * stride + values.shape[1]] = values
    total = out.reshape(values.shape[0], steps, stride, *values.shape[2:]).cumsum(axis=1)
    total[:, length:] -= total[:, :-length].copy()
    flat = total.reshape(out.shape)
    return flat[:, length * stride : length * stride + values.shape[1]].astype(np.float32)


def ratio(total: Floats, count: Floats) -> Floats:
    """Means from sums and counts; 0 where nothing was counted."""
    return total / np.maximum(count, 1.0)
