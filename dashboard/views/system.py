"""How the machinery does: requests, times of runs, what waits, pods that failed, how much is stored."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import backends, charts, look, watched
from dashboard.boundary import part
from dashboard.views import states
from orchestrator import failures, runs

MOST_RUNS, MOST_FAILURES = 50, 20
MEGABYTE = 1_000_000


def draw() -> None:
    """The service's requests, the runs and what failed of them, the store."""
    st.markdown("**Service of forecasts**")
    with part("Forecasts"):
        _requests()
    st.markdown("**Runs**")
    with part("Prefect"):
        backends.need_prefect()
        _runs()
    st.markdown("**Failures of pods**")
    with part("Prefect"):
        backends.need_prefect()
        _failures()
    st.markdown("**Store**")
    with part("Store"):
        _store()


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


def _failures() -> None:
    """Stages' pods that failed, were killed or never started, and runs whose own pod or process is gone."""
    found = failures.latest(MOST_FAILURES)
    if not found:
        st.caption("No pod has failed: none was killed, none ran out of memory, none could not start.")
        return
    rows = [
        {
            "When": look.ago(failure.at),
            "Stage or run": failure.label,
            "Of run": states.short(failure.within),
            "Pool": failure.pool or "this machine",
            "What happened": failure.what,
            "What to do": failure.cure,
            "What was said": failure.found,
        }
        for failure in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Pods that failed, why, and what to do")


def _store() -> None:
    """How much lies in the workspace, by kind."""
    table = watched.sizes()
    if table.empty:
        st.caption("Nothing is stored yet.")
        return
    cells = st.columns(3)
    cells[0].metric("Stored", f"{look.number(float(table['bytes'].sum()) / MEGABYTE)} MB", border=True)
    cells[1].metric("Files", look.number(float(table["files"].sum())), border=True)
    cells[2].metric("Most of it", str(table["kind"].iloc[0]), border=True)
    shown = pd.DataFrame({"Kind": table["kind"], "Files": table["files"], "MB": table["bytes"] / MEGABYTE})
    st.dataframe(
        shown,
        hide_index=True,
        column_config={
            "Files": st.column_config.NumberColumn(format="localized"),
            "MB": st.column_config.NumberColumn(format="%.2f"),
        },
        alt="Files and megabytes of each kind of data in the workspace",
    )
    st.caption("What is old leaves by `storecast archive`, by a policy (docs/retention.md).")
