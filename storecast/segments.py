"""Groups of series that are scored, weighted and calibrated together.

A series' volume class comes from its history alone, and the history must end at the first fold's cutoff or
before: else the class would know what the folds are to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from storecast.errors import DataError
from storecast.metrics import check_columns
from storecast.panel import Panel

VOLUME = "volume"
"""Name of the volume-class column."""

VOLUME_CLASSES = ("none", "rare", "low", "medium", "high")


class VolumeConfig(BaseModel):
    """Where the volume classes begin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Last dates of history to look at; None: 8 weeks of days, 26 weeks, or 12 months.",
    )
    rare_zeros: float = Field(
        default=0.5, gt=0, le=1, description="Share of dates without sales from which a series is rare."
    )
    low_below: float = Field(default=10.0, gt=0, description="Mean sales per date below which volume is low.")
    high_from: float = Field(default=100.0, gt=0, description="Mean sales per date from which it is high.")


def volume_classes(panel: Panel, config: VolumeConfig | None = None) -> pd.Series:
    """Volume class of each series, from the last dates up to `panel.cutoff`.

    "none": no sale in the window. "rare": at least `rare_zeros` of its dates without a sale. Else "low",
    "medium" or "high" by mean sales per date. Dates that were not observed do not count. Give
    `panel.at(cutoff)` of the first fold.

    Returns:
        Series named "volume" by unique_id, an ordered categorical of `VOLUME_CLASSES`.
    """
    config = config or VolumeConfig()
    window = config.window or panel.frequency.recent
    recent = panel.history[:, -window:]
    seen = np.isfinite(recent)
    count = np.maximum(seen.sum(axis=1), 1)
    values = np.where(seen, recent, 0.0)
    mean = values.sum(axis=1) / count
    zeros = 1 - (values > 0).sum(axis=1) / count
    names = np.select(
        [mean == 0, zeros >= config.rare_zeros, mean < config.low_below, mean < config.high_from],
        VOLUME_CLASSES[:4],
        default=VOLUME_CLASSES[4],
    )
    return pd.Series(
        pd.Categorical(names, categories=VOLUME_CLASSES, ordered=True),
        index=pd.Index(panel.ids, name="unique_id"),
        name=VOLUME,
    )


def segment_table(
    panel: Panel, first_cutoff: pd.Timestamp, config: VolumeConfig | None = None
) -> pd.DataFrame:
    """Static columns and the volume class of each series as of `first_cutoff`, by unique_id."""
    volume = volume_classes(panel.at(first_cutoff, 0), config)
    return panel.static.assign(**{VOLUME: volume.reindex(panel.static.index)})


def attach(cv: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The cv table with the segments of each row's series as categorical columns.

    Args:
        cv: frame with `unique_id`.
        table: segments by unique_id, see `segment_table`.
        columns: which of its columns; None: all.

    Raises:
        DataError: a column is not in the table, or a series of the cv table is not.
    """
    wanted = list(table.columns) if columns is None else list(columns)
    check_columns(table, wanted, where="segment table")
    codes, ids = pd.factorize(cv["unique_id"])
    rows = table.index.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise DataError(
            "a series has no segment",
            where="cv table",
            expected="every unique_id in the segment table",
            found=f"{int((rows < 0).sum())} unknown, first {ids[int((rows < 0).argmax())]!r}",
            cure="make the segment table from the panel that was forecast",
        )
    places = rows[codes]
    return cv.assign(**{name: _taken(table[name], places) for name in wanted})


def _taken(column: pd.Series, places: NDArray[np.intp]) -> pd.Categorical:
    """Values of a column, as a categorical of what is among them; one that is a categorical keeps all."""
    taken = pd.Categorical(column).take(places)
    return taken if isinstance(column.dtype, pd.CategoricalDtype) else taken.remove_unused_categories()
