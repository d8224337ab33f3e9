"""Whether what arrives, and the errors, are what their season was: moves by day beside their limits."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, watched
from dashboard.views import by_day

MOVE, LIMITS = "move", ("limit", "limit below")
HEIGHT = 320
MOST_ROWS = 200


def draw(dataset: str) -> None:
    """Let people choose a figure, a segment and a window; below, the largest moves of the last day."""
    table = watched.drift(dataset) if dataset else pd.DataFrame()
    known = table.dropna(subset=["move"]) if not table.empty else table
    if known.empty:
        st.caption("Moves come here once there are some weeks of data to compare a day with.")
        return
    figures = list(known["figure"].unique())
    chosen = by_day.choose(known, "Figure", figures, lambda name: known[known["figure"] == name])
    rows = chosen.rows
    lines = pd.DataFrame({MOVE: rows["move"], LIMITS[0]: rows["limit"]})
    if rows["spread"].notna().any():  # a share of series moves up only
        lines[LIMITS[1]] = -rows["limit"]
    figure = charts.lines(lines, MOVE, f"move of {chosen.name}", height=HEIGHT)
    figure.update_traces(line={"dash": "dash"}, selector=lambda trace: trace.name in LIMITS)
    said = f"Move of {chosen.name} of {chosen.of}, beside its limits"
    charts.show(figure, key="drift", alt=said)
    _last_day(known)


def _last_day(known: pd.DataFrame) -> None:
    last = known[known["ds"] == known["ds"].max()]
    shown = last.assign(
        of=[by_day.called(each) for each in zip(last["column"], last["segment"], strict=True)],
        share=last["move"].abs() / last["limit"],
        state=last["breached"].map({True: "breached", False: "within"}),
    ).sort_values(["breached", "share"], ascending=False)
    st.markdown("**The largest moves of the last day**")
    number = st.column_config.NumberColumn
    st.dataframe(
        shown[["figure", "of", "window_days", "state", "move", "limit", "spread", "adjusted"]].head(
            MOST_ROWS
        ),
        hide_index=True,
        height=320,
        column_config={
            "figure": "Figure",
            "of": "Of",
            "window_days": number("Days", help="Days whose mean is compared with the weeks before."),
            "state": "State",
            "move": number("Move", format="%.3f", help="Against the weeks before, and the year before."),
            "limit": number("Limit", format="%.3f"),
            "spread": number(
                "Usual", format="%.3f", help="Standard deviation of such moves in the year before."
            ),
            "adjusted": number(
                "p", format="%.3f", help="Chance of such a move, corrected for the day's tests."
            ),
        },
        alt="The moves of the last day beside their limits, the largest first",
    )
