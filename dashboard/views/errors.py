"""How far off what was served was, by day: beside the seasonal naive and what the backtest promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from dashboard import charts, look, watched
from dashboard.views import by_day

SERVED = "served"
HEIGHT = 340


@dataclass(frozen=True)
class Measure:
    """A figure of the table of errors, and what it is shown beside.

    Attributes:
        column: of the table.
        beside: further columns by the name of their line.
        aim: what the figure should be, where that is one number.
        share: it is shown in per cent.
    """

    column: str
    beside: Mapping[str, str] = field(default_factory=dict)
    aim: float | None = None
    share: bool = True


MEASURES = {
    "RMSLE": Measure("rmsle", {"naive": "naive_rmsle", "promised": "promised_rmsle"}, share=False),
    "WAPE": Measure("wape"),
    "Bias": Measure("bias", aim=0.0),
    "Within the 80 % interval": Measure("coverage_80", aim=0.80),
    "Within the 95 % interval": Measure("coverage_95", aim=0.95),
}


def draw(dataset: str) -> None:
    """Let people choose a measure, a segment and a window, and draw it by day."""
    table = watched.errors(dataset) if dataset else pd.DataFrame()
    if table.empty:
        st.caption("Errors come here once sales have arrived for days that were forecast.")
        return
    chosen = by_day.choose(table, "Measure", list(MEASURES))
    said = f"{chosen.name} of {chosen.of}, what was served"
    measure, rows = MEASURES[chosen.name], chosen.rows
    lines = pd.DataFrame({SERVED: rows[measure.column]})
    for title, other in measure.beside.items():
        lines[title] = rows[other]
    if measure.aim is not None:
        lines["aim"] = measure.aim
    figure = charts.lines(lines, SERVED, chosen.name, height=HEIGHT)
    if measure.share:
        figure.update_yaxes(tickformat=".0%")
        figure.update_traces(hovertemplate="%{y:.1%}")
    charts.show(figure, key="errors", alt=f"{said}, beside {', '.join(lines.columns[1:]) or 'nothing'}")
    shown = ("rmsle", "wape", "bias", "coverage_80", "coverage_95")
    st.dataframe(
        rows[["n", *shown]].iloc[::-1].rename_axis("ds").reset_index(),
        hide_index=True,
        height=250,
        column_config={
            "ds": st.column_config.DateColumn("Day", format="D MMM YYYY"),
            "n": st.column_config.NumberColumn("Forecasts", help="Forecasts of days whose sales are known."),
            **{
                each: st.column_config.NumberColumn(
                    look.TITLES[each], help=look.HELP[each], format="%.4f" if each == "rmsle" else "percent"
                )
                for each in shown
            },
        },
        alt=said,
    )
