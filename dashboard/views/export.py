"""The forecasts that are looked at, as a file."""

from __future__ import annotations

from io import BytesIO

import pandas as pd
import streamlit as st

from dashboard import released
from dashboard.views.selection import Selection
from storecast.store.releases import Release

EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MOST_SHEET_ROWS = 1_000_000
SHOWN = 8


def draw(release: Release, selection: Selection) -> None:
    """A look at the table, and buttons that hand it over."""
    table = _table(release, selection)
    name = f"forecast-{release.about['dataset']}-{selection.file_name}-{release.id}"
    st.caption(f"{len(table):,} rows: {selection.title}, release {release.id}")
    st.dataframe(
        table.head(SHOWN),
        hide_index=True,
        column_config={"ds": st.column_config.DateColumn(format="YYYY-MM-DD")},
        alt=f"The first {SHOWN} rows of the forecast",
    )
    csv, excel, _ = st.columns([1, 1, 4])
    csv.download_button(
        "CSV",
        lambda: table.to_csv(index=False).encode(),
        f"{name}.csv",
        "text/csv",
        icon=":material/download:",
        width="stretch",
        on_click="ignore",
    )
    excel.download_button(
        "Excel",
        lambda: workbook(table, release),
        f"{name}.xlsx",
        EXCEL,
        icon=":material/download:",
        width="stretch",
        on_click="ignore",
        disabled=len(table) > MOST_SHEET_ROWS,
    )


def workbook(table: pd.DataFrame, release: Release) -> bytes:
    """The table as a workbook, and a second sheet that says what it is of."""
    made = BytesIO()
    about = {name: release.about[name] for name in ("dataset", "cutoff", "horizon")} | {"release": release.id}
    with pd.ExcelWriter(made, engine="openpyxl") as writer:
        table.to_excel(writer, sheet_name="forecast", index=False, freeze_panes=(1, 0))
        pd.DataFrame(about.items(), columns=["what", "value"]).to_excel(
            writer, sheet_name="about", index=False
        )
    return made.getvalue()


def _table(release: Release, selection: Selection) -> pd.DataFrame:
    """Key columns, date, forecast, quantiles."""
    found = selection.forecasts(release.uri)
    static = released.panel(release.uri).static.set_index("unique_id")[selection.panel.keys]
    numbers = found.drop(columns=["h"]).reset_index(drop=True)
    figures = numbers.columns.difference(["unique_id", "ds"])
    numbers[figures] = numbers[figures].round(4)
    named = static.loc[numbers["unique_id"]].reset_index(drop=True)
    return pd.concat([named, numbers.drop(columns=["unique_id"])], axis=1)
