"""A run under way: its stages and shards, its log, and the button that cancels it."""

from __future__ import annotations

import re

import pandas as pd
import streamlit as st

from dashboard import audit, look
from dashboard.boundary import part
from dashboard.views import common, states
from orchestrator import details, runs
from orchestrator.details import RunDetails, StageRun

REFRESH_SECONDS = 3
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
DONE = "Completed"
VERDICTS = {
    "tune": ("What was found", ":material/tune:"),
    "partitioned": ("What became of the partitions", ":material/splitscreen:"),
}
"""Title and icon of what a run came to, by flow."""


def draw(run: str) -> None:
    """A run, drawn again and again until it has ended."""
    with part("Prefect"):
        found = details.details(run)
        if found.run.ended:
            _draw(found)
        else:
            st.fragment(_again, run_every=REFRESH_SECONDS)(run)


def _again(run: str) -> None:
    with part("Prefect"):
        found = details.details(run)
        _draw(found)
        if found.run.ended:
            st.rerun()


def _draw(found: RunDetails) -> None:
    run = found.run
    done = [stage for stage in found.stages if stage.state == DONE]
    state, text, button = st.columns([1, 5, 1.2], vertical_alignment="center")
    state.badge(run.state, color=states.colour(run.state))
    said = {name: states.short(str(value)) for name, value in found.parameters.items() if value}
    given = ", ".join(f"{name} `{value}`" for name, value in said.items())
    text.markdown(f"started {look.ago(run.started)} · {found.flow} · {given}")
    with button:
        _cancel_button(found)
    if not run.ended:
        running = [stage for stage in found.stages if stage.state == "Running"]
        now = ", ".join(_label(stage) for stage in running[:3]) or (
            "starting" if run.state == "Running" else "waiting for the runner"
        )
        st.progress(min(len(done) / max(len(found.stages), 1), 1.0), f"{len(done)} stages done · {now}")
    if run.message and run.state not in (DONE, "Running"):
        say = st.error if run.state in states.FAILED else st.info
        say(run.message.splitlines()[0][:400])
    if found.verdict:
        title, icon = VERDICTS.get(found.flow, ("What the gate said", ":material/gavel:"))
        with st.expander(title, expanded=True, icon=icon):
            st.markdown(re.sub(r"^## .*\n", "", found.verdict))
    if found.trials:
        with st.expander(f"Trials ({len(found.trials)})", icon=":material/format_list_numbered:"):
            st.dataframe(pd.DataFrame(found.trials), hide_index=True, alt="Every trial, the best first")
    # One key and fixed names: else a stage that is added puts who reads the log back to the first tab.
    stages, log = st.tabs(["Stages", "Log"], key=f"run-{run.id}")
    with stages:
        if found.stages:
            st.caption(f"{len(found.stages)} stages")
        _stages(found)
    with log:
        _log(found)


def _label(stage: StageRun) -> str:
    shard = f", shard {stage.shard}" if stage.shard else ""
    share = f" {stage.progress:.0f} %" if stage.progress is not None else ""
    return f"{stage.stage}{shard}{share}"


def _stages(found: RunDetails) -> None:
    if not found.stages:
        st.caption("No stage has begun yet.")
        return
    rows = [
        {
            "Stage": stage.stage,
            "Shard": stage.shard,
            "State": stage.state,
            "Progress": 100.0 if stage.state == DONE else stage.progress or 0.0,
            "Took": look.duration(stage.seconds),
        }
        for stage in found.stages
    ]
    table = pd.DataFrame(rows)
    if not table["Shard"].any():
        table = table.drop(columns=["Shard"])
    progress = st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.0f %%")
    st.dataframe(
        table,
        hide_index=True,
        column_config={"Progress": progress},
        height=min(38 + 35 * len(table), 520),
        alt="The run's stages and shards, with their state and progress",
    )


def _log(found: RunDetails) -> None:
    lines = [
        f"{line.at:%H:%M:%S}  {LEVELS.get(line.level, str(line.level)):<7} {line.of}: {line.text}"
        for line in found.log
    ]
    if not lines:
        st.caption("Nothing was logged yet.")
        return
    with st.container(height=420):  # what scrolls holds a button, so that a keyboard can reach it
        st.code("\n".join(lines), language=None, wrap_lines=True)


def _cancel_button(found: RunDetails) -> None:
    who = common.here()
    if found.run.ended or not who.acts:
        return
    if st.button("Cancel", icon=":material/stop_circle:", key=f"cancel {found.run.id}", width="stretch"):
        about = {"run": found.run.id, "name": found.run.name}
        audit.perform(who, "cancel run", about, lambda: runs.cancel(found.run.id))
        st.toast("Cancelling", icon=":material/stop_circle:")
