"""Combinations of dates and categories as numbers: what tells equal rows and series apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PART = 1 << 20
Numbers = Callable[[slice], NDArray[np.int64]]


def parts(rows: int) -> Iterator[slice]:
    """A million rows at a time: what a row needs on the way is not held for all of them."""
    return (slice(start, min(start + PART, rows)) for start in range(0, rows, PART))


def numbers_of(frame: pd.DataFrame, columns: Sequence[str]) -> Numbers | None:
    """What tells the combination of some rows' values by a number, of which each column is a digit.

    None where it cannot be told: a column holds neither categories nor dates, a date is missing, or there
    are more combinations than numbers of 64 bits.
    """
    digits = [_digit(frame[name]) for name in columns]
    told = [digit for digit in digits if digit is not None]
    if len(told) < len(digits) or math.prod(size for _, size in told) > np.iinfo(np.int64).max:
        return None

    def numbers(part: slice) -> NDArray[np.int64]:
        found = np.zeros(part.stop - part.start, dtype=np.int64)
        for digit, size in told:
            found *= size
            found += digit(part)
        return found

    return numbers


def _digit(values: pd.Series) -> tuple[Numbers, int] | None:
    """A column's digit, 0 where a category is missing, and how many different digits there may be."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        return lambda part: codes[part].astype(np.int64) + 1, len(values.cat.categories) + 1
    if values.dtype.kind != "M" or values.hasnans:
        return None
    ticks = values.to_numpy().view(np.int64)
    first, last = (int(ticks.min()), int(ticks.max())) if len(ticks) else (0, 0)
    return lambda part: ticks[part] - first, last - first + 1
