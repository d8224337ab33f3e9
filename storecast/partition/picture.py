"""The errors of partitions as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from storecast.blend import BLEND
from storecast.partition.pooled import last_folds
from storecast.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 40
"""Partitions that a picture has room for."""


def errors(scores: pd.DataFrame, naive: str) -> Figure:
    """RMSLE of the blend and of the seasonal naive on each partition's last fold, the largest error on top.

    Args:
        scores: `partition, model, cutoff, rmsle`, and `series` of the partition.
        naive: the seasonal naive's name.
    """
    table = last_folds(scores).head(SHOWN)[::-1]
    figure, (axis,) = style.new_figure(8.6, 0.3 * len(table) + 1.7)
    places = range(len(table))
    axis.hlines(places, table[BLEND], table[naive], color=style.GRID, linewidth=3)
    axis.scatter(table[naive], places, s=46, color=style.NAIVE, zorder=3, label="seasonal naive")
    axis.scatter(table[BLEND], places, s=46, color=style.ACCENT, zorder=4, label="blend")
    axis.set_yticks(places, [str(name) for name in table.index])
    axis.set_ylim(-0.7, len(table) - 0.3)
    axis.set_xlim(left=0)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("RMSLE (lower is better)")
    axis.legend(loc="lower left")
    count = scores["partition"].nunique()
    note = "Each partition's last fold, the largest error on top"
    if count > SHOWN:
        note = f"The last fold of the {SHOWN} partitions of {count:,} with the largest error"
    style.headline(figure, "Partitions against the seasonal naive", note)
    return figure
