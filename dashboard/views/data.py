"""The data: what there is, what was repaired and refused and why, gaps, and new files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import charts, history, look, released
from dashboard.boundary import part
from dashboard.views import common, upload
from storecast.ingest.quality import KINDS
from storecast.store import parquet
from storecast.store.releases import Release

MOST_ROWS = 1_000


def page() -> None:
    """Draw the page."""
    common.heading("Data", "What the current release was made from.")
    with part("Store"):
        store = common.chosen_releases()
        current = store.current() if store else None
        if store and current is None:
            current = store.get(store.ids()[-1]) if store.ids() else None
        if current is not None:
            _data(current)
    st.header("Upload")
    with part("Upload"):
        upload.draw()


def _data(release: Release) -> None:
    quality = released.document(release.uri, "quality.json")
    panel = released.panel(release.uri)
    totals = quality["totals"]
    past = int((panel.dates <= panel.cutoff).sum())
    cells = st.columns(4)
    _figure(cells[0], "Series", f"{len(panel.static):,}", f"by {' and '.join(panel.keys)}")
    _figure(
        cells[1],
        "History",
        f"{past:,} {panel.frequency.unit}s",
        f"{look.day(panel.dates[0])} to {look.day(panel.cutoff)}",
    )
    kept = f"{look.number(totals['rows_kept'])} kept"
    _figure(cells[2], "Rows read", look.number(totals["rows_read"]), kept)
    cells[3].metric(
        "Quarantined",
        look.number(totals["rows_quarantined"]),
        look.percent(totals["rows_quarantined"] / max(totals["rows_read"], 1)),
        delta_color="inverse" if totals["rows_quarantined"] else "off",
        delta_arrow="off",
        border=True,
        height="stretch",
    )
    coverage, files, refused, gaps = st.tabs(["Coverage", "Files", "Quarantine", "Gaps and notes"])
    with coverage, part("Coverage"):
        _coverage(panel)
    with files:
        _files(quality)
    with refused, part("Quarantine"):
        _quarantine(panel)
    with gaps:
        _gaps(quality)


def _figure(place: DeltaGenerator, label: str, value: str, note: str) -> None:
    place.metric(label, value, note, delta_color="off", delta_arrow="off", border=True, height="stretch")


def _coverage(panel: history.PanelFiles) -> None:
    """How many series sold something on each date, and how complete each group is."""
    sales = history.column(panel.folder, "y")
    past = panel.dates <= panel.cutoff
    selling = pd.Series((sales[:, past] > 0).sum(axis=0), index=panel.dates[past])
    daily = panel.frequency.daily
    weekly = selling.resample("W").mean() if daily else selling
    st.caption("Series with sales, weekly mean" if daily else "Series with sales")
    by_date = f"{'week' if daily else panel.frequency.unit}, from {int(weekly.min())} to {int(weekly.max())}"
    charts.show(charts.columns(weekly, "series"), key="coverage", alt=f"Series with sales by {by_date}")
    by = st.selectbox("By", panel.keys, key="coverage by")
    seen = sales[:, past]
    shares = pd.DataFrame(
        {
            by: panel.static[by],
            "Observed": 100 * np.isfinite(seen).mean(axis=1),
            "With sales": 100 * (seen > 0).mean(axis=1),
            "Series": 1,
        }
    )
    table = shares.groupby(by).agg({"Series": "sum", "Observed": "mean", "With sales": "mean"}).reset_index()
    percent = st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.1f %%")
    st.dataframe(
        table.sort_values("With sales"),
        hide_index=True,
        column_config={"Observed": percent, "With sales": percent},
        alt=f"Share of dates observed and with sales by {by}, the thinnest first",
    )


def _files(quality: dict[str, Any]) -> None:
    """Every row of every file: kept, quarantined, merged or not used."""
    counts = ("read", "kept", "quarantined", "merged", "unused")
    rows = [
        {"File": file["file"], **{name.capitalize(): file[f"rows_{name}"] for name in counts}}
        | {"Repaired": sum(tally["count"] for tally in file["repairs"].values())}
        for file in quality["files"]
    ]
    number = st.column_config.NumberColumn(format="localized")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={name: number for name in rows[0] if name != "File"} if rows else None,
        alt="The rows of each file, by what became of them",
    )
    done = [
        {
            "File": file["file"],
            "Rows": tally["count"],
            "Were": word,
            "Because": tally["rule"],
            "First": tally["example"],
        }
        for file in quality["files"]
        for kind, word in KINDS.items()
        for tally in file[kind].values()
    ]
    if done:
        st.dataframe(
            pd.DataFrame(done),
            hide_index=True,
            column_config={"Rows": number},
            alt="What was done to rows, by what rule, with the first case",
        )
    else:
        st.caption("No row had to be repaired, merged or refused.")


def _quarantine(panel: history.PanelFiles) -> None:
    path = Path(panel.folder) / "quarantine.parquet"
    table = parquet.read_frame(path) if path.exists() else pd.DataFrame()
    if table.empty:
        st.success("No row is in quarantine.", icon=":material/check_circle:")
        return
    reasons = table.groupby(["file", "reason"]).size().rename("Rows").reset_index()
    st.dataframe(
        reasons.rename(columns={"file": "File", "reason": "Reason"}).sort_values("Rows", ascending=False),
        hide_index=True,
        alt="Rows in quarantine by file and reason",
    )
    st.caption(f"{len(table):,} rows" + (f", the first {MOST_ROWS:,}" if len(table) > MOST_ROWS else ""))
    st.dataframe(table.head(MOST_ROWS), hide_index=True, alt="The rows in quarantine as they were read")
    st.download_button(
        "CSV",
        lambda: table.to_csv(index=False).encode(),
        f"quarantine-{panel.about['dataset']}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _gaps(quality: dict[str, Any]) -> None:
    for tally in quality["added"].values():
        st.markdown(f"- **{tally['count']:,}** {tally['rule']} (first: {tally['example']})")
    for note in quality["notes"]:
        st.markdown(f"- {note}")
    empty = quality["series_without_history"]
    if empty:
        with st.expander(f"{len(empty):,} series have no history"):
            st.write(", ".join(empty[:200]) + ("…" if len(empty) > 200 else ""))
    if not (quality["added"] or quality["notes"] or empty):
        st.caption("No gap was filled, and there is nothing to note.")
