"""What a day's monitoring says, on every page: alarms, all well, or not judged yet and what is needed."""

from __future__ import annotations

import streamlit as st

from storecast.monitor.health import ALL, Check, Health

TITLES = {
    "error": "Error",
    "bias": "Bias",
    "coverage": "Coverage",
    "input_drift": "Drift of inputs",
    "error_drift": "Drift of errors",
    "freshness": "Freshness",
    "volume": "Volume",
    "scale": "Scale",
}


def title(name: str) -> str:
    """A check's name for people."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def alarm(check: Check) -> str:
    """A breached check in one line of Markdown."""
    where = "" if check.segment == ALL else f" ({check.segment})"
    return f"**{title(check.name)}{where}**: {check.note}"


def draw_calm(health: Health, well: str) -> None:
    """Where nothing is breached: that all is well, in the words given, or that nobody can tell yet."""
    if health.breaches:
        return
    if health.judged:
        st.success(well, icon=":material/check_circle:")
        return
    st.info(
        "**Not judged yet.** No check is breached, and nobody knows yet how good the forecast is.  \n"
        + "  \n".join(_needs(health)),
        icon=":material/hourglass_empty:",
    )


def draw_needs(health: Health) -> None:
    """Beside alarms or all well: the checks that have no figure yet, and what they need."""
    if health.unjudged and (health.breaches or health.judged):
        st.caption("Not judged yet:  \n" + "  \n".join(_needs(health)))


def _needs(health: Health) -> list[str]:
    """A line for each reason, with all the checks that it keeps from being judged."""
    by_note: dict[str, list[str]] = {}
    for check in health.unjudged:
        by_note.setdefault(check.note, []).append(title(check.name))
    return [f"**{', '.join(names)}**: {note}" for note, names in by_note.items()]
