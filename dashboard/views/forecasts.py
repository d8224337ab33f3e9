"""The forecast of a series or of any sum of them: history, intervals, comparison, what-if, export."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, history, look, released
from dashboard.boundary import part
from dashboard.views import common, comparison, export, what_if
from dashboard.views.selection import Selection, choose
from storecast.blend import BLEND
from storecast.store.releases import Release, ReleaseStore
from storecast.sums import sum_intervals

SPANS = {"4 weeks": 28, "12 weeks": 84, "1 year": 364, "All": 0}
SPANS_OF_MONTHS = {"1 year": 360, "3 years": 1080, "All": 0}
"""What may be shown of the history, in days; the second is."""


def page() -> None:
    """Draw the page."""
    common.heading("Forecasts")
    with part("Store"):
        store = common.chosen_releases()
        current = store.current() if store else None
        if store is None:
            return
        if current is None:
            st.warning("No release is current yet: promote one on the page Models.")
            return
        _chosen(store, current)


def _chosen(store: ReleaseStore, current: Release) -> None:
    ids = sorted(store.ids(), reverse=True)
    ids = [current.id, *(each for each in ids if each != current.id)]
    panel = released.panel(current.uri)
    selection = choose(panel)
    span, pick, against = st.columns([3, 3, 3])
    with span:
        spans = SPANS_OF_MONTHS if panel.frequency.unit == "month" else SPANS
        days = spans[st.segmented_control("History", list(spans), default=list(spans)[1], required=True)]
    with pick:
        name = st.selectbox(
            "Release", ids, format_func=lambda each: f"{each} (current)" if each == current.id else each
        )
    others: list[str] = []
    if len(ids) > 1:
        with against:
            others = st.multiselect("Compare with releases", [each for each in ids if each != name])
    release = store.get(name)
    if name != current.id:
        selection = selection.within(released.panel(release.uri))
    if not len(selection.rows):
        st.warning("The release has none of these series.")
        return
    _picture(store, release, selection, days, others)
    models, ask, take = st.tabs(["Compare models", "What if", "Export"])
    with models, part("Comparison"):
        comparison.draw(release, selection)
    with ask, part("What if"):
        what_if.draw(release, current, selection)
    with take, part("Export"):
        export.draw(release, selection)


def _picture(
    store: ReleaseStore, release: Release, selection: Selection, days: int, others: list[str]
) -> None:
    panel = selection.panel
    steps = panel.frequency.dates(days) if days else None
    sold = history.total(panel.folder, "y", tuple(selection.rows.tolist()))
    table = selection.forecasts(release.uri)
    expected = table.groupby("ds")["yhat"].sum()
    past = common.history_window(sold, panel.cutoff, steps)
    promoted = None
    if panel.known:
        every = history.total(panel.folder, panel.known[0], tuple(selection.rows.tolist()))
        promoted = every[every.index >= past.index[0]]
    compared = {f"release {each}": _expected(store.get(each), selection) for each in others}
    story = charts.Story(
        history=past,
        forecast=expected,
        bounds=_bounds(release, selection, table, expected),
        holidays=selection.holidays(),
        promotions=promoted,
        others=compared,
    )
    said = _summary(selection, sold, expected)
    charts.show(charts.forecast(story), key="forecast", alt=f"Forecast of {selection.title}. {said}")
    st.caption(said + _of_bounds(selection, story.bounds))


def _expected(release: Release, selection: Selection) -> pd.Series:
    return selection.forecasts(release.uri).groupby("ds")["yhat"].sum()


def _bounds(release: Release, selection: Selection, table: pd.DataFrame, expected: pd.Series) -> pd.DataFrame:
    """A series' own quantiles; of a sum, how the sum was missed in the backtest."""
    if selection.single:
        names = {"q0.025": "lower_95", "q0.1": "lower_80", "q0.9": "upper_80", "q0.975": "upper_95"}
        return table.set_index("ds")[[name for name in names if name in table]].rename(columns=names)
    columns = ("unique_id", "model", "cutoff", "ds", "y", "yhat")
    backtest = released.table(release.uri, "backtest", columns)
    mine = backtest[(backtest["model"] == BLEND) & backtest["unique_id"].astype(str).isin(selection.ids)]
    return sum_intervals(mine, expected)


def _of_bounds(selection: Selection, bounds: pd.DataFrame) -> str:
    if selection.single or bounds.empty:
        return ""
    return " The intervals are the sum's own, from how it was missed in the backtest."


def _summary(selection: Selection, sold: pd.Series, expected: pd.Series) -> str:
    before = sold[: selection.panel.cutoff].iloc[-len(expected) :].sum()
    change = look.percent(expected.sum() / before - 1, signed=True) if before > 0 else look.NONE
    return (
        f"{selection.title}: {look.number(expected.sum())} expected from {look.day(expected.index[0])} to "
        f"{look.day(expected.index[-1])}, {change} against as many dates before."
    )
