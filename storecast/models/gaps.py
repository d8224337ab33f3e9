"""What stands for a day that was not observed, where a model needs every day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats


def stand_ins(missing: NDArray[np.bool_], season: int) -> NDArray[np.int64]:
    """(n, T) the date whose value stands for each: itself, or where it is missing one before it.

    That is the date a season before, or the one that stands for it; where no date of the same place in the
    season is known, as of a shop that is closed on Sundays, the date before. -1: none is known so far.
    """
    dates = missing.shape[1]
    source = np.tile(np.arange(dates), (len(missing), 1))
    known = ~missing  # by a date of the same place in the season
    for t in np.flatnonzero(missing.any(axis=0)):
        gap = missing[:, t]
        seasonal = gap & known[:, t - season] if t >= season else np.zeros_like(gap)
        source[gap, t] = source[gap, t - 1] if t else -1
        if t >= season:
            source[seasonal, t] = source[seasonal, t - season]
            known[:, t] |= seasonal
    return source


def taken(values: Floats, source: NDArray[np.int64]) -> Floats:
    """(n, T) each date's value taken from the date that stands for it; 0 where none does."""
    return np.where(source >= 0, np.take_along_axis(values, np.maximum(source, 0), axis=1), 0.0)
