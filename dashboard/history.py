"""A panel's past, read by column: sales and covariates as one row of numbers per series.

A panel never changes and is named by its content, so what was read stays in memory: the sales of 1,782 series
over 1,704 days are 24 MB.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from storecast.errors import StoreError
from storecast.frequency import Frequency, frequency
from storecast.store import parquet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PanelFiles:
    """A panel in a folder.

    Attributes:
        folder: where its files are.
        about: panel.json.
        dates: (T,) all dates, the horizon's included.
        static: one row per series, in the order of the panel's rows: `unique_id` and the static columns.
        events: `ds, event, kind, column, value`.
    """

    folder: str
    about: dict[str, Any]
    dates: pd.DatetimeIndex
    static: pd.DataFrame
    events: pd.DataFrame

    @property
    def cutoff(self) -> pd.Timestamp:
        """The last day with sales."""
        return pd.Timestamp(self.about["cutoff"])

    @property
    def keys(self) -> list[str]:
        """The columns that name a series."""
        return [str(key) for key in self.about["keys"]]

    @property
    def frequency(self) -> Frequency:
        """How its dates follow each other."""
        return frequency(self.about["freq"])

    @property
    def known(self) -> list[str]:
        """Covariates whose future is known, promotions among them."""
        return [str(name) for name in self.about["known"]]

    def least(self, name: str) -> float | None:
        """The smallest value that a known covariate may have; None: any, as it has been below 0."""
        return None if name in self.about.get("signed", ()) else 0.0


@st.cache_resource(max_entries=4, show_spinner=False)
def open_panel(folder: str) -> PanelFiles:
    """The panel in a folder, without its numbers.

    Raises:
        StoreError: a file is missing or damaged.
    """
    path = Path(folder)
    try:
        about = json.loads((path / "panel.json").read_text())
        static = parquet.read_frame(path / "static.parquet").astype(str)
        events = parquet.read_frame(path / "events.parquet")
    except (OSError, ValueError) as error:
        raise StoreError("the panel cannot be read", where=folder, found=str(error)) from error
    dates = pd.date_range(about["start"], periods=about["dates"], freq=about["freq"])
    return PanelFiles(folder, about, dates, static, events)


@st.cache_resource(max_entries=6, show_spinner=False)
def column(folder: str, name: str) -> Floats:
    """One column of a panel as (N, T), NaN where nothing was observed.

    Raises:
        StoreError: the file is missing, damaged or has no such column.
    """
    panel = open_panel(folder)
    try:
        table = parquet.read_table(Path(folder) / "panel.parquet", [name])
        values = np.asarray(table.column(0).to_numpy(), dtype=np.float64)
        return values.reshape(len(panel.static), len(panel.dates))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StoreError("the panel cannot be read", where=folder, found=str(error)) from error


@st.cache_data(max_entries=100, show_spinner=False)
def total(folder: str, name: str, rows: tuple[int, ...]) -> pd.Series:
    """The sum of a column over some series by date; NaN where none of them was observed."""
    chosen = column(folder, name)[np.asarray(rows, dtype=np.intp)]
    seen = np.isfinite(chosen).any(axis=0)
    sums = np.where(seen, np.nansum(chosen, axis=0), np.nan)
    return pd.Series(sums, index=open_panel(folder).dates, name=name)
