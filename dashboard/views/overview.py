"""Is the forecast healthy? Accuracy, freshness, serving, the last runs, and what stands behind it all."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from dashboard import backends, charts, history, look, released, watched
from dashboard.boundary import part
from dashboard.views import common, states, verdict
from orchestrator import runs
from storecast.errors import StorecastError
from storecast.monitor.health import ALL
from storecast.store.releases import Release, ReleaseStore

WEEKS_SHOWN = 12
"""Of months, as many of them."""


def page() -> None:
    """Draw the page."""
    common.heading("Overview")
    with part("Store"):
        store = common.chosen_releases()
        if store is not None:
            _forecast(store)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.header("Last runs")
        with part("Prefect"):
            _last_runs()
    with right:
        st.header("What it stands on")
        _backends()


def _forecast(store: ReleaseStore) -> None:
    current = store.current()
    if current is None:
        st.warning(
            "There are releases, but none is current: promote one on the page Models.",
            icon=":material/publish:",
        )
        return
    accuracy, data, serving, horizon = st.columns(4)
    with accuracy, part("Accuracy"):
        _accuracy(current)
    _freshness(store, current, data, horizon)
    with serving:
        _serving(current)
    with part("Alarms"):
        _alarms(str(current.about["dataset"]))
    with part("Sales"):
        _total(current)


def _accuracy(release: Release) -> None:
    mine, naive = released.accuracy(release.uri)
    st.metric(
        "Error (RMSLE)",
        f"{mine:.4f}",
        f"{look.percent(mine / naive - 1, signed=True)} vs naive",
        delta_color="inverse",
        border=True,
        help=f"What the release promises, from its backtest. The seasonal naive has {naive:.4f}. "
        + look.HELP["rmsle"],
    )


def _freshness(
    store: ReleaseStore,
    release: Release,
    data: st.delta_generator.DeltaGenerator,
    horizon: st.delta_generator.DeltaGenerator,
) -> None:
    activated = next((entry.at for entry in reversed(store.history()) if entry.id == release.id), None)
    last = released.panel(release.uri).dates[-1]
    left = (last - pd.Timestamp(datetime.now(UTC).date())).days
    data.metric(
        "Sales known until",
        look.day(release.about["cutoff"]),
        f"released {look.ago(activated)}",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    horizon.metric(
        "Forecast until",
        look.day(last),
        f"{left} days left" if left >= 0 else f"ran out {-left:,} days ago",
        delta_color="off" if left >= 0 else "inverse",
        delta_arrow="off",
        border=True,
        help="When the forecast has run out, new sales and a new run are needed.",
    )


def _serving(current: Release) -> None:
    try:
        served = str(backends.served()["id"])
    except StorecastError as error:
        st.metric("Served", "no", error.what, delta_color="inverse", delta_arrow="off", border=True)
        return
    same = served == current.id
    st.metric(
        "Served",
        "yes" if same else "another release",
        served if same else f"{served}, not {current.id}",
        delta_color="normal" if same else "inverse",
        delta_arrow="off",
        border=True,
        help="Whether the service of forecasts answers from the current release.",
    )


def _alarms(dataset: str) -> None:
    """What the last day's monitoring says: against the promise and the naive, and what is breached."""
    seen = watched.health(dataset)
    if not seen:
        st.caption("Nothing was monitored yet: the page Monitoring says how that begins.")
        return
    last = seen[-1]
    against = [check.note for check in last.checks if check.name == "error" and check.segment == ALL]
    told = {check.note for check in (*last.breaches[:3], *last.unjudged)}
    rest = "; ".join(note for note in against if note not in told)
    said = f"As of {look.day(last.as_of)}" + (f": {rest}." if rest else ".")
    if last.breaches:
        notes = "  \n".join(verdict.alarm(check) for check in last.breaches[:3])
        more = f"  \nand {len(last.breaches) - 3} more" if len(last.breaches) > 3 else ""
        st.error(f"{notes}{more}  \n{said}", icon=":material/notifications:")
    verdict.draw_calm(last, f"No open alarm. {said}")
    verdict.draw_needs(last)
    if not last.healthy:
        common.link("Monitoring", "Look at the checks", ":material/notifications:")


def warm() -> None:
    """Read what the page shows of every current release, so that the first visitor finds it read.

    Raises:
        StorecastError: something of it cannot be read.
    """
    for dataset in backends.datasets():
        current = backends.releases(dataset).current()
        if current is not None:
            released.accuracy(current.uri)
            _all_sales(released.panel(current.uri))
            released.table(current.uri, "forecasts", ("ds", "yhat"))


def _all_sales(panel: history.PanelFiles) -> pd.Series:
    return history.total(panel.folder, "y", tuple(range(len(panel.static))))


def _total(release: Release) -> None:
    panel = released.panel(release.uri)
    sold = _all_sales(panel)
    steps = max(panel.frequency.dates(7 * WEEKS_SHOWN), WEEKS_SHOWN)
    expected = released.table(release.uri, "forecasts", ("ds", "yhat")).groupby("ds")["yhat"].sum()
    story = charts.Story(common.history_window(sold, panel.cutoff, steps), expected, pd.DataFrame())
    st.header(f"All sales: {len(panel.static):,} series of {release.about['dataset']}")
    total, before = float(expected.sum()), float(sold[: panel.cutoff].iloc[-len(expected) :].sum())
    change = look.percent(total / before - 1, signed=True)
    said = (
        f"{look.number(total)} are expected in the {len(expected)} {_unit(panel.about['freq'])} from "
        f"{look.day(expected.index[0])}, {change} against as many before."
    )
    st.caption(said)
    charts.show(charts.forecast(story, height=320), key="total", alt=f"Sales and their forecast. {said}")


def _unit(freq: str) -> str:
    return f"{common.WORDS.get(freq, 'date')}s"


def _last_runs() -> None:
    backends.need_prefect()
    found = runs.latest(6)
    if not found:
        st.caption("No run yet. Start one on the page Training.")
    for run in found:
        state, name, when = st.columns([1.2, 3, 1.5], vertical_alignment="center")
        state.badge(run.state, color=states.colour(run.state))
        name.write(states.short(run.name))
        when.caption(look.ago(run.started))


def _backends() -> None:
    for health in backends.health():
        state, name = st.columns([1, 3], vertical_alignment="center")
        state.badge("up" if health.ok else "down", color="green" if health.ok else "red")
        name.markdown(f"**{health.name}**  \n:small[{health.said}]")
