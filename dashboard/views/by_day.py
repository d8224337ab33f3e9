"""Choosing, of a table of monitoring by day, what is shown: a figure, a segment and a window of days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Attributes:
        name: of the figure.
        of: the segment and the window in words.
        rows: of the segment and the window, by day, the oldest first.
    """

    name: str
    of: str
    rows: pd.DataFrame


def choose(
    table: pd.DataFrame,
    title: str,
    names: Sequence[str],
    rows_of: Callable[[str], pd.DataFrame] | None = None,
) -> Chosen:
    """Three boxes above a picture.

    Args:
        table: `ds, column, segment, window_days`, and figures.
        title: of the first box, which also tells the boxes of two tables apart.
        names: the figures.
        rows_of: the rows of the table that a figure has; None: all.
    """
    first, second, third = st.columns(3)
    name = first.selectbox(title, names, key=title)
    some = table if rows_of is None else rows_of(name)
    segments = list(some[["column", "segment"]].drop_duplicates().itertuples(index=False, name=None))
    column, segment = second.selectbox("Of", segments, format_func=called, key=f"{title} of")
    windows = sorted(int(days) for days in some["window_days"].unique())
    days = third.selectbox("Over", windows, format_func=window, key=f"{title} over")
    mine = some[some["column"].eq(column) & some["segment"].eq(segment) & some["window_days"].eq(days)]
    return Chosen(name, f"{called((column, segment))}, {window(days)}", mine.set_index("ds").sort_index())


def called(segment: tuple[str, str]) -> str:
    """A segment's column and value as people read them."""
    column, value = segment
    return f"{column}: {value}" if column else "all series"


def window(days: int) -> str:
    """A window of days as people read it."""
    return "each day by itself" if days == 1 else f"the {days} days up to each"
