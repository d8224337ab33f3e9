"""What if promotions or prices were others? The service runs the release's model and answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import backends, charts, history, look
from dashboard.views.selection import Selection
from storecast.client import WhatIf
from storecast.store.releases import Release

MOST_SERIES = 100
DATE = "%Y-%m-%d"


def draw(release: Release, current: Release, selection: Selection) -> None:
    """The table of what is planned, to be changed, and what the model then expects."""
    panel = selection.panel
    if release.id != current.id:
        st.info("The service answers from the current release: choose that one to ask it.")
        return
    if not panel.known:
        st.info("The data set has no covariate whose future is known, such as promotions: nothing to change.")
        return
    if len(selection.rows) > MOST_SERIES:
        st.info(f"{len(selection.rows):,} series are too many at once: choose at most {MOST_SERIES}.")
        return
    planned = _planned(selection)
    st.caption(
        "Change what is planned and ask."
        + (
            ""
            if selection.single
            else " A changed figure holds for each of the series; the rest stay as planned."
        )
    )
    table, answer = st.columns([1, 2], gap="large")
    with table, st.form("what if", border=False):
        edited = st.data_editor(
            planned,
            hide_index=True,
            disabled=["date"],
            height=320,
            column_config={
                name: st.column_config.NumberColumn(name, min_value=panel.least(name), step=1.0)
                for name in panel.known
            },
            key=f"plan {release.id} {selection.file_name}",
            alt="What is planned for each date; the figures can be changed",
        )
        asked = st.form_submit_button("Ask the model", type="primary", icon=":material/psychology:")
    place = f"what-if {release.id} {selection.title}"
    if asked:
        with st.spinner("The model forecasts"), backends.service() as client:
            st.session_state[place] = client.what_if(_changes(selection, planned, edited))
    with answer:
        found = st.session_state.get(place)
        if found is None:
            st.caption("The answer comes here: both forecasts and the difference.")
        else:
            _answer(found, selection)


def _planned(selection: Selection) -> pd.DataFrame:
    """What is planned by date: of several series the mean."""
    panel = selection.panel
    future = panel.dates > panel.cutoff
    table = pd.DataFrame({"date": panel.dates[future].strftime(DATE)})
    for name in panel.known:
        values = history.column(panel.folder, name)[selection.rows][:, future]
        table[name] = np.round(np.nanmean(values, axis=0), 2)
    return table


def _changes(
    selection: Selection, planned: pd.DataFrame, edited: pd.DataFrame
) -> list[tuple[dict[str, str], Mapping[str, Mapping[str, float]]]]:
    """For each series the figures that were changed, by covariate and date."""
    known: dict[str, dict[str, float]] = {}
    for name in selection.panel.known:
        other = edited[name].notna() & (edited[name] != planned[name])
        if other.any():
            known[name] = dict(
                zip(planned.loc[other, "date"], edited.loc[other, name].astype(float), strict=True)
            )
    keys = selection.panel.static.iloc[selection.rows][selection.panel.keys]
    return [({str(k): str(v) for k, v in row.items()}, known) for row in keys.to_dict("records")]


def _answer(found: WhatIf, selection: Selection) -> None:
    before, after = _sum(found, "baseline"), _sum(found, "what_if")
    change = float(after["yhat"].sum() - before["yhat"].sum())
    share = change / float(before["yhat"].sum()) if float(before["yhat"].sum()) > 0 else float("nan")
    cells = st.columns(3)
    cells[0].metric("As planned", look.number(float(before["yhat"].sum())), border=True, height="stretch")
    cells[1].metric("What if", look.number(float(after["yhat"].sum())), border=True, height="stretch")
    cells[2].metric(
        "Difference",
        f"{'+' if change > 0 else ''}{look.number(change)}",
        look.percent(share, signed=True),
        border=True,
    )
    bounds = pd.DataFrame(index=after.index)
    if selection.single:
        names = {"q0.025": "lower_95", "q0.1": "lower_80", "q0.9": "upper_80", "q0.975": "upper_95"}
        bounds = after[[name for name in names if name in after]].rename(columns=names)
    story = charts.Story(
        pd.Series(dtype=float), after["yhat"], bounds, others={"as planned": before["yhat"]}, name="what if"
    )
    said = f"What if, release {found.release}: {look.percent(share, signed=True)} against the plan."
    charts.show(charts.forecast(story, height=280), key="what if picture", alt=said)
    st.caption(said)


def _sum(found: WhatIf, which: str) -> pd.DataFrame:
    """Columns summed over the series, by date."""
    parts = [pd.DataFrame(getattr(series, which), index=pd.to_datetime(series.ds)) for series in found.series]
    return pd.concat(parts).groupby(level=0).sum()
