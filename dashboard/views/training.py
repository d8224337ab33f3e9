"""Start a run, see how its stages get on, read its log, cancel it."""

from __future__ import annotations

import streamlit as st

from dashboard import backends
from dashboard.boundary import part
from dashboard.views import common, progress, start_run, states
from orchestrator import runs

MOST_RUNS = 20


def page() -> None:
    """Draw the page."""
    common.heading("Training")
    with part("Prefect"):
        backends.need_prefect()
        start_run.draw()
        _runs()


def _runs() -> None:
    st.header("Runs")
    found = runs.latest(MOST_RUNS)
    if not found:
        st.caption("No run yet: start the demo above, it needs no data.")
        return
    names = {run.id: f"{states.short(run.name)} · {run.id[:8]}" for run in found}
    begun = st.session_state.pop("begun", None)
    if begun in names:
        st.session_state["run"] = begun
    if st.session_state.get("run") not in names:
        st.session_state["run"] = found[0].id
    chosen = st.selectbox("Run", list(names), format_func=lambda run: names[run], key="run")
    progress.draw(chosen)
