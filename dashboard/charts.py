"""Pictures by plotly. Streamlit's theme gives them the page's fonts and grid, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from dashboard import look

DAY = pd.Timedelta(days=1)
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


@dataclass(frozen=True)
class Story:
    """What the picture of a forecast shows; everything by date.

    Attributes:
        history: what was sold.
        forecast: what is expected.
        bounds: `lower_95, lower_80, upper_80, upper_95`, as far as they are known.
        holidays: names by date.
        promotions: how much was and will be on promotion; None where there is no such covariate.
        others: further forecasts to compare with, by name.
        name: of the forecast.
    """

    history: pd.Series
    forecast: pd.Series
    bounds: pd.DataFrame
    holidays: Mapping[pd.Timestamp, str] = field(default_factory=dict)
    promotions: pd.Series | None = None
    others: Mapping[str, pd.Series] = field(default_factory=dict)
    name: str = "Forecast"


def show(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a picture; `alt` says in words what is to be seen."""
    st.plotly_chart(figure, key=key, config=CONFIG, alt=alt)


def forecast(story: Story, height: int = 440) -> go.Figure:
    """History, forecast with its bands, holidays as marks above, promotions as bars below."""
    promoted = story.promotions is not None and float(story.promotions.fillna(0).sum()) > 0
    rows = 2 if promoted else 1
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.82, 0.18][:rows]
    )
    _bands(figure, story)
    _line(figure, story.history, "Sold", look.INK, width=1.6)
    colours = look.model_colours(story.others, shown="")
    for name, values in story.others.items():
        _line(figure, values, name, colours[name], width=1.6, dash="dash")
    _line(figure, story.forecast, story.name, look.ACCENT, width=2.6)
    _holidays(figure, story)
    if promoted and story.promotions is not None:
        bars = go.Bar(
            x=story.promotions.index,
            y=story.promotions.to_numpy(),
            name="On promotion",
            marker_color=look.PROMOTION,
            hovertemplate="%{y:,.0f} on promotion<extra></extra>",
        )
        figure.add_trace(bars, row=2, col=1)
        figure.update_yaxes(title_text="promoted", row=2, col=1, nticks=3)
    figure.update_yaxes(title_text="sales", rangemode="tozero", row=1, col=1)
    return _finished(figure, height + (70 if promoted else 0))


def lines(
    table: pd.DataFrame, shown: str, y: str, *, actual: str = "", x: str = "", height: int = 380
) -> go.Figure:
    """A line per column of a table by date or number; `shown` is strong, `actual` grey."""
    figure = go.Figure()
    colours = {**look.model_colours(map(str, table.columns), shown), actual: look.INK}
    for name in table.columns:
        strong = name in (shown, actual)
        dash = "dot" if name == "naive" else "solid"
        _line(figure, table[name], str(name), colours[str(name)], width=2.6 if strong else 1.6, dash=dash)
    if _one_day(figure, table.index):
        figure.update_traces(mode="markers")
    figure.update_yaxes(title_text=y, rangemode="tozero")
    figure.update_xaxes(title_text=x)
    return _finished(figure, height)


def bars(values: pd.Series, shown: str, x: str, naive: str = "naive") -> go.Figure:
    """A horizontal bar per row, the best on top, with its figure; the naive's as a dashed line."""
    ordered = values.sort_values(ascending=False)
    colours = [
        look.ACCENT if name == shown else look.NAIVE if name == naive else look.BAND_80
        for name in ordered.index
    ]
    figure = go.Figure(
        go.Bar(
            x=ordered.to_numpy(),
            y=[str(name) for name in ordered.index],
            orientation="h",
            marker_color=colours,
            text=[f"{value:.3f}" for value in ordered],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    if naive in ordered.index:
        figure.add_vline(x=float(ordered[naive]), line_dash="dash", line_color=look.NAIVE, line_width=1)
    figure.update_xaxes(title_text=x, rangemode="tozero", range=[0, float(ordered.max()) * 1.12])
    return _finished(figure, 60 + 34 * len(ordered) + 40, unified=False)


def limits(tables: Mapping[str, pd.DataFrame], y: str, height: int = 320) -> go.Figure:
    """Figures by name: of each its `value` by date, and its `limit` as a dashed line of the same colour."""
    figure = go.Figure()
    for (name, table), colour in zip(tables.items(), (look.ACCENT, *look.OTHERS), strict=False):
        _line(figure, table["value"], name, colour, width=2.6)
        _line(figure, table["limit"], f"limit {name}", colour, width=1.4, dash="dash")
    if _one_day(figure, [when for table in tables.values() for when in table.index]):
        figure.update_traces(mode="markers")
    figure.update_yaxes(title_text=y, rangemode="tozero")
    return _finished(figure, height)


def columns(
    values: pd.Series, y: str, colour: str = look.ACCENT, height: int = 260, *, by_number: bool = False
) -> go.Figure:
    """A column per date; `by_number`: side by side whatever the time between."""
    names = [f"{when:%d %b %H:%M}" for when in values.index] if by_number else values.index
    figure = go.Figure(
        go.Bar(x=names, y=values.to_numpy(), marker_color=colour, hovertemplate="%{y:,.4g}<extra></extra>")
    )
    if not by_number and _one_day(figure, values.index):
        figure.update_traces(width=0.8 * DAY.total_seconds() * 1000)
    figure.update_yaxes(title_text=y, rangemode="tozero")
    return _finished(figure, height)


def heat(table: pd.DataFrame, text: pd.DataFrame, height: int) -> go.Figure:
    """A cell per row and column: blue is better than the seasonal naive, red worse."""
    figure = go.Figure(
        go.Heatmap(
            z=table.to_numpy(),
            x=[str(name) for name in table.columns],
            y=[str(name) for name in table.index],
            text=text.to_numpy(),
            texttemplate="%{text}",
            zmid=0,
            zmin=-0.5,
            zmax=0.5,
            colorscale=[[0, "#7fb2ea"], [0.5, "#e3e8ee"], [1, "#ee9a98"]],
            textfont={"color": "#0d141a"},
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y}, %{x}: RMSLE %{text}, %{z:+.1%} against the naive<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(side="top", type="category")
    return _finished(figure, height, unified=False)


def _one_day(figure: go.Figure, days: Iterable[object]) -> bool:
    """Whether there is but one date, which is a point and no line; the axis then shows some days around it
    instead of milliseconds."""
    found = set(days)
    if len(found) != 1 or not isinstance(day := found.pop(), pd.Timestamp):
        return False
    figure.update_xaxes(tickvals=[day], tickformat="%d %b %Y", range=[day - 4 * DAY, day + 4 * DAY])
    return True


def _bands(figure: go.Figure, story: Story) -> None:
    for level, colour in ((95, look.BAND_95), (80, look.BAND_80)):
        lower, upper = f"lower_{level}", f"upper_{level}"
        if lower not in story.bounds:
            continue
        dates = story.bounds.index
        edge = {"mode": "lines", "line": {"width": 0}, "x": dates, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(**edge, y=story.bounds[upper], showlegend=False))
        figure.add_trace(
            go.Scatter(
                **edge, y=story.bounds[lower], fill="tonexty", fillcolor=colour, name=f"{level} % interval"
            )
        )


def _line(
    figure: go.Figure, values: pd.Series, name: str, colour: str, *, width: float, dash: str = "solid"
) -> None:
    figure.add_trace(
        go.Scatter(
            x=values.index,
            y=values.to_numpy(),
            name=name,
            mode="lines",
            line={"color": colour, "width": width, "dash": dash},
            hovertemplate="%{y:,.4g}",
        )
    )


def _holidays(figure: go.Figure, story: Story) -> None:
    """A mark on each holiday that lies in the picture, at the top of the sales."""
    both = pd.concat([story.history, story.forecast])
    if both.empty or not story.holidays:
        return
    shown = {when: name for when, name in story.holidays.items() if both.index[0] <= when <= both.index[-1]}
    highest = [both, *(story.bounds[c] for c in story.bounds if str(c).startswith("upper"))]
    top = 1.04 * float(pd.concat(highest).max())
    figure.add_trace(
        go.Scatter(
            x=list(shown),
            y=[top] * len(shown),
            mode="markers",
            marker={"symbol": "triangle-down", "size": 9, "color": look.HOLIDAY},
            name="Holiday",
            text=list(shown.values()),
            hovertemplate="%{text}<extra></extra>",
        )
    )


def _finished(figure: go.Figure, height: int, *, unified: bool = True) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="x unified" if unified else "closest",
        bargap=0.15,
    )
    return figure
