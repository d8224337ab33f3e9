"""How the machinery does: requests, times of runs, what waits."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import backends, charts, look, watched
from dashboard.boundary import part
from dashboard.views import states
from orchestrator import runs

MOST_RUNS = 50


def draw() -> None:
    """The service's requests, then the runs."""
    st.markdown("**Service of forecasts**")
    with part("Forecasts"):
        _requests()
    st.markdown("**Runs**")
    with part("Prefect"):
        backends.need_prefect()
        _runs()


def _requests() -> None:
    table = watched.requests()
    count = float(table["count"].sum())
    errors = float(table.loc[table["status"].astype(str) >= "500", "count"].sum())
    cells = st.columns(3)
    cells[0].metric("Answers since its start", look.number(count), border=True)
    cells[1].metric("Errors (5xx)", look.percent(errors / count if count else 0.0), border=True)
    mean = float((table["mean_ms"] * table["count"]).sum() / count) if count else float("nan")
    cells[2].metric("Mean time", f"{mean:.1f} ms" if count else look.NONE, border=True)
    if not table.empty:
        titles = {"route": "Route", "status": "Status", "count": "Answers", "mean_ms": "Mean ms of the route"}
        st.dataframe(
            table.rename(columns=titles).sort_values("Answers", ascending=False),
            hide_index=True,
            column_config={
                "Answers": st.column_config.NumberColumn(format="localized"),
                titles["mean_ms"]: st.column_config.NumberColumn(format="%.1f"),
            },
            alt="Answers of the service by route and status",
        )


def _runs() -> None:
    found = runs.latest(MOST_RUNS)
    ended = [run for run in found if run.ended and run.started]
    waiting = [run for run in found if not run.ended and run.state != "Running"]
    failed = [run for run in ended if run.state in states.FAILED]
    cells = st.columns(3)
    cells[0].metric(f"Of the last {len(found)} runs failed", str(len(failed)), border=True)
    cells[1].metric("Running", str(sum(run.state == "Running" for run in found)), border=True)
    cells[2].metric("Waiting", str(len(waiting)), border=True)
    if ended:
        began = pd.DatetimeIndex([run.started for run in ended])
        minutes = pd.Series([run.seconds / 60 for run in ended], index=began)
        figure = charts.columns(minutes.sort_index(), "minutes", height=220, by_number=True)
        charts.show(figure, key="run minutes", alt="Minutes that each of the last runs took")
