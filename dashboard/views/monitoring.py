"""What happened after a forecast was released: alarms, errors, drift, checks, decisions, system metrics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from dashboard import audit, backends, charts, look, watched
from dashboard.boundary import part
from dashboard.views import common, drift, errors, system, verdict
from storecast.loop.decisions import ACTIONS, Decision, pending
from storecast.monitor.health import ALL, CHECKS, Health

PARTS = {"error": ("over the naive", "over the promise")}
"""Checks that are made of one figure more than once, in their order."""
MOST_DECISIONS = 200


def page() -> None:
    """Draw the page."""
    common.heading("Monitoring")
    dataset, seen = "", list[Health]()
    with part("Store"):
        store = common.chosen_releases() if backends.datasets() else None
        dataset = str(st.session_state["dataset"]) if store else ""
        seen = watched.health(dataset) if dataset else []
        if seen:
            _today(seen[-1])
        else:
            _first()
    names = ["Errors", "Drift", "Checks", "Decisions", "System"]
    errors_by_day, moved, checked, decided, machine = st.tabs(names)
    with errors_by_day, part("Errors"):
        errors.draw(dataset)
    with moved, part("Drift"):
        drift.draw(dataset)
    with checked, part("Checks"):
        _checks(seen)
    with decided, part("Decisions"):
        _decisions(dataset)
    with machine:
        system.draw()


def _first() -> None:
    st.info(
        "Nothing was monitored yet. Once a release is current and sales have arrived for days that it "
        "forecasts, a pass of the loop compares the two: `storecast loop run --dataset NAME --data URI`, or "
        "the flow `watch` on the platform.",
        icon=":material/radar:",
    )


def _today(health: Health) -> None:
    breaches = health.breaches
    st.caption(
        f"As of {look.day(health.as_of)}, release {health.release or 'none'}: "
        f"{len(health.checks)} checks, {len(breaches)} breached, {len(health.unjudged)} not judged yet."
    )
    verdict.draw_calm(health, "No alarm: every check that could be judged is within its limit.")
    for check in breaches[:10]:
        st.error(verdict.alarm(check), icon=":material/notifications:")
    if len(breaches) > 10:
        st.caption(f"and {len(breaches) - 10} more below")
    verdict.draw_needs(health)
    with st.expander("All checks", icon=":material/checklist:"):
        table = health.to_frame()
        table["state"] = table["breached"].map({True: "breached", False: "within"})
        table.loc[table["value"].isna(), "state"] = "not judged"
        shown = {"name": "Check", "segment": "Segment", "state": "State", "value": "Value"}
        shown |= {"limit": "Limit", "window_days": "Days", "note": "What it says"}
        st.dataframe(
            table[list(shown)].rename(columns=shown),
            hide_index=True,
            column_config={
                "Value": st.column_config.NumberColumn(format="%.3f"),
                "Limit": st.column_config.NumberColumn(format="%.3f"),
            },
            alt="Every check with its value beside its limit",
        )


def _checks(seen: Sequence[Health]) -> None:
    """A check's figure by day beside its limit."""
    rows = [
        {"ds": pd.Timestamp(health.as_of), "check": check.name, "segment": check.segment}
        | {"value": check.value, "limit": check.limit}
        for health in seen
        for check in health.checks
        if check.value is not None
    ]
    if not rows:
        st.caption("Checks come here once days were monitored.")
        return
    table = pd.DataFrame(rows)
    left, right = st.columns(2)
    known = [name for name in CHECKS if (table["check"] == name).any()]
    name = left.selectbox("Check", known, format_func=verdict.title)
    of_check = table[table["check"] == name]
    segments = sorted(of_check["segment"].unique(), key=lambda each: (each != ALL, each))
    segment = right.selectbox("Segment", segments)
    mine = of_check[of_check["segment"] == segment]
    numbered = mine.assign(n=mine.groupby("ds").cumcount())
    titles = PARTS.get(name, (verdict.title(name),))
    parts = {
        titles[n] if n < len(titles) else f"{name} {n + 1}": part.set_index("ds")
        for n, part in ((int(str(n)), part) for n, part in numbered.groupby("n"))
    }
    said = f"{verdict.title(name)} of {segment} by day, and its limit"
    charts.show(charts.limits(parts, verdict.title(name)), key="trend", alt=said)
    told = [health for health in seen if health.state != "unjudged"]
    st.markdown("**Breached checks by day**")
    if len(told) < len(seen):
        st.caption(f"{len(seen) - len(told)} days are left out: what was served could not be judged yet.")
    if told:
        counts = pd.Series({pd.Timestamp(health.as_of): len(health.breaches) for health in told})
        figure = charts.columns(counts, "breached", look.BAD, height=200)
        charts.show(figure, key="breaches", alt="Number of breached checks by day")


def _decisions(dataset: str) -> None:
    found = watched.decisions(dataset).all() if dataset else []
    if not found:
        st.caption("The loop has decided nothing yet.")
        return
    for question in pending(found):
        _question(dataset, question)
    rows = [
        {
            "Data until": decision.as_of,
            "Decided": look.ago(decision.at),
            "Action": decision.action,
            "Meaning": ACTIONS[decision.action],
            "Rule": decision.rule,
            "Because": decision.because,
            "Came to": ", ".join(f"{name} {value}" for name, value in decision.outcome.items()),
        }
        for decision in reversed(found[-MOST_DECISIONS:])
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What the loop has decided, the newest first")


def _question(dataset: str, question: Decision) -> None:
    """A training that waits for a person's yes."""
    who = common.here()
    with st.container(border=True):
        st.markdown(f"**The loop asks to train.** {question.because}")
        yes, no, _ = st.columns([1, 1, 4])
        for place, action, label in ((yes, "approve", "Approve"), (no, "decline", "Decline")):
            if place.button(label, key=f"{action} {question.id}", disabled=not who.acts, width="stretch"):
                about = {"dataset": dataset, "decision": question.id}
                said = partial(watched.answer, dataset, question, action, who.name)
                audit.perform(who, action, about, said)
                st.rerun()
