"""Which series are looked at: by the columns that name and describe them, one or any sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from dashboard import released
from dashboard.history import PanelFiles

ALL = "All"


@dataclass(frozen=True)
class Selection:
    """Some series of a panel: their rows, and the values that were chosen by column."""

    panel: PanelFiles
    chosen: dict[str, list[str]]

    @property
    def rows(self) -> npt.NDArray[np.intp]:
        """Rows of the panel."""
        mask = np.ones(len(self.panel.static), dtype=bool)
        for name, values in self.chosen.items():
            if values and name in self.panel.static:
                mask &= self.panel.static[name].isin(values).to_numpy()
        return np.flatnonzero(mask)

    @property
    def ids(self) -> list[str]:
        """Their unique_ids."""
        return self.panel.static["unique_id"].iloc[self.rows].tolist()

    @property
    def single(self) -> bool:
        """Whether it is one series."""
        return len(self.rows) == 1

    @property
    def title(self) -> str:
        """Such as "store_nbr 1, family GROCERY I", with the number of series where they are several."""
        said = [f"{name} {', '.join(values)}" for name, values in self.chosen.items() if values]
        count = "" if self.single else f" ({len(self.rows):,} series)"
        return (", ".join(said) or "All sales") + count

    @property
    def file_name(self) -> str:
        """What to name a file of it."""
        said = "-".join(value for values in self.chosen.values() for value in values) or "all"
        return "".join(letter if letter.isalnum() else "-" for letter in said.lower())[:60].strip("-")

    def within(self, panel: PanelFiles) -> Selection:
        """The same choice in another release's panel."""
        return Selection(panel, self.chosen)

    def forecasts(self, uri: str) -> pd.DataFrame:
        """A release's forecasts of them."""
        table = released.table(uri, "forecasts")
        return table[table["unique_id"].isin(self.ids)]

    def holidays(self) -> dict[pd.Timestamp, str]:
        """Names of the holidays that hold for any of them, by date."""
        events, static = self.panel.events, self.panel.static.iloc[self.rows]
        found: dict[pd.Timestamp, str] = {}
        for ds, name, kind, column, value in events[["ds", "event", "kind", "column", "value"]].itertuples(
            index=False
        ):
            holds = not column or (column in static and (static[column] == str(value)).any())
            if holds and kind != "workday":
                when = pd.Timestamp(ds)
                found[when] = f"{found[when]}, {name}" if when in found and name not in found[when] else name
        return found


def choose(panel: PanelFiles) -> Selection:
    """Ask which series: a box per key column, the others under "More"."""
    keys = [key for key in panel.keys if key in panel.static]
    others = [name for name in panel.static.columns if name not in {*keys, "unique_id"}]
    chosen: dict[str, list[str]] = {}
    places = st.columns([*[3] * len(keys), 1], vertical_alignment="bottom")
    for place, key in zip(places, keys, strict=False):
        with place:
            options = sorted(panel.static[key].unique(), key=_order)
            first = st.selectbox(_title(key), [ALL, *options], key=f"select {panel.about['dataset']} {key}")
        chosen[key] = [] if first == ALL else [first]
    if others:
        with places[-1].popover("More", icon=":material/tune:", width="stretch"):
            for name in others:
                chosen[name] = st.multiselect(
                    _title(name),
                    sorted(panel.static[name].unique(), key=_order),
                    key=f"select {panel.about['dataset']} {name}",
                )
    return Selection(panel, chosen)


def _title(name: str) -> str:
    return name.replace("_nbr", "").replace("_", " ").capitalize()


def _order(value: str) -> tuple[int, float, str]:
    return (0, float(value), "") if value.replace(".", "", 1).isdigit() else (1, 0.0, value)
