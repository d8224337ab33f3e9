"""Has something moved that neither the last weeks nor the season explain?

A figure (the mean error of a store, the share of promoted rows) is averaged over a window. It has moved by as
much as it differs from the median of the weeks before; a year ago the same weeks may have moved as well, as
December does, so what counts is the smaller of the two: the move, and the move less last year's. How far such
moves go by themselves is learnt from the year before, by figure and segment, and a move becomes a p-value
under Student's t with as many degrees of freedom as there were independent windows. Over all figures and
segments of a day the p-values are corrected for their number (Benjamini & Yekutieli 2001, which holds for
dependent tests).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.panel import Floats

YEAR_DAYS = 364
"""52 whole weeks: the same weekday a year ago."""

MAD_TO_SD = 1.4826
"""Standard deviations per median absolute deviation, for normal values."""


@dataclass(frozen=True)
class Reference:
    """What a move is measured against.

    Attributes:
        window: dates a figure is averaged over.
        before: dates before the window whose median is the level moved from.
        year: dates in a year.
        scale_floor: smallest standard deviation of moves, in the figure's unit.
    """

    window: int
    before: int
    year: int
    scale_floor: float


def moves(figures: Floats, reference: Reference) -> tuple[Floats, Floats]:
    """Moves of daily figures, and how far they usually go.

    Args:
        figures: (T, S) one figure per date and segment; NaN where there is none.
        reference: what to measure against.

    Returns:
        (T, S) moves, in the figure's unit, and (T, S) their standard deviation in the year before; NaN where
        too little is known.
    """
    mean = pd.DataFrame(figures).rolling(reference.window, min_periods=max(1, reference.window // 2)).mean()
    earlier = mean.shift(reference.window)
    base = earlier.rolling(reference.before, min_periods=reference.before // 2).median()
    recent = (mean - base).to_numpy()
    moved = _smaller(recent, _a_year_ago(recent, reference))
    known = pd.DataFrame(moved).shift(reference.window)
    spread = known.abs().rolling(reference.year, min_periods=reference.before).median() * MAD_TO_SD
    wide = known.abs().rolling(reference.year, min_periods=reference.before).quantile(0.9) / 1.645
    return moved, np.maximum(np.fmax(spread.to_numpy(), wide.to_numpy()), reference.scale_floor)


def _a_year_ago(recent: Floats, reference: Reference) -> list[Floats]:
    """The moves of the same weekdays and the same dates a year ago, and of the weeks beside: feasts move."""
    step = max(1, reference.year // 52)
    same_dates = (1, 2) if step > 1 else ()
    frame = pd.DataFrame(recent)
    return [frame.shift(reference.year + offset).to_numpy() for offset in (-step, 0, *same_dates, step)]


def _smaller(recent: Floats, years_ago: list[Floats]) -> Floats:
    """The move or the move less last year's, whichever is nearest to none."""
    best = recent.copy()
    for ago in years_ago:
        less = recent - ago
        best = np.where(np.abs(less) < np.abs(best), less, best)
    return best


def outlying(values: Floats, window: int, before: int, limit: float, floor: float) -> Floats:
    """(T,) share of series whose mean over a window is far from its own past.

    Args:
        values: (T, n) one value per date and series, such as its error; NaN where there is none.
        window: dates of the mean.
        before: dates before the window that say what is usual.
        limit: distance in the series' own standard deviations of such means.
        floor: smallest such standard deviation.
    """
    mean = pd.DataFrame(values).rolling(window, min_periods=window).mean()
    usual = mean.rolling(2 * before, min_periods=before // 2).mean()
    off = (mean - usual).abs().clip(upper=MOST)
    spread = off.rolling(2 * before, min_periods=before // 2).mean().shift(window) * NORMAL_SPREAD
    base = pd.DataFrame(values).shift(window).rolling(before, min_periods=before // 2).mean()
    far = ((mean - base).abs() / spread.clip(lower=floor)).to_numpy()
    known = np.isfinite(far)
    share = (known & (far > limit)).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), share, np.nan)


MOST = 3.0
NORMAL_SPREAD = 1.2533
"""Standard deviation over mean absolute deviation, for normal values."""


def p_values(moved: Floats, scale: Floats, reference: Reference) -> Floats:
    """Two-sided p-value of each move; NaN where it is not known."""
    from scipy.stats import t

    degrees = max(2.0, reference.year / reference.window / 4)
    p: Floats = 2 * t.sf(np.abs(moved) / scale, degrees)
    return p


def corrected(p: Floats) -> Floats:
    """Benjamini-Yekutieli adjusted p-values of one day's tests; NaN stays."""
    from scipy.stats import false_discovery_control

    out = np.full(p.shape, np.nan)
    known: NDArray[np.bool_] = np.isfinite(p)
    if known.any():
        out[known] = false_discovery_control(p[known], method="by")
    return out
