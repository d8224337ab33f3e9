"""Colours and numbers, the same on every page.

The colours are the report's, in shades that stand out from white and from near-black alike (at least 3:1),
because a page does not know its theme when it is first drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime

import pandas as pd

INK, ACCENT, NAIVE = "#758292", "#3d83cc", "#8b96a3"
BAND_80, BAND_95 = "rgba(61,131,204,0.30)", "rgba(61,131,204,0.15)"
PROMOTION, HOLIDAY, GOOD, BAD = "#c98a2b", "#a86fb0", "#3f9a63", "#d1524f"
OTHERS = ("#cf7d27", "#3f9a63", "#a86fb0", "#d1524f", "#2f9fb3", "#978457", "#6c79cf")
NONE = "–"

STYLE = """<style>
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primaryFormSubmit"], [data-tag] {
  background-color: #1f5fa8; color: #ffffff;
}
[data-testid="stMainBlockContainer"] { padding-top: 3rem; }
</style>"""
"""White on the house's blue in both themes: the dark one's own blue is too light to write on."""
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<rect width="24" height="24" rx="5" fill="#1f5fa8"/>'
    '<path d="M4 16l5-5 4 3 7-8" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"/></svg>'
)

TITLES = {
    "model": "Model",
    "rmsle": "RMSLE",
    "vs_naive": "vs naive",
    "mae": "MAE",
    "wape": "WAPE",
    "mase": "MASE",
    "bias": "Bias",
    "coverage_80": "In 80 %",
    "coverage_95": "In 95 %",
}
HELP = {
    "rmsle": "Root mean squared logarithmic error, pooled over series and days: lower is better.",
    "vs_naive": "RMSLE against the seasonal naive, which repeats last week.",
    "wape": "Sum of absolute errors over the sum of sales.",
    "mase": "Mean absolute error in units of the naive's in-sample error.",
    "bias": "Sum of forecasts over the sum of sales, less one.",
    "coverage_80": "Share of days within the 80 % interval: 80 % is right.",
    "coverage_95": "Share of days within the 95 % interval: 95 % is right.",
}


def model_colours(models: Iterable[str], shown: str, naive: str = "naive") -> dict[str, str]:
    """A colour per model: grey for the naive, the accent for the shown one, by name for the rest."""
    rest = sorted(set(models) - {shown, naive})
    colours = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(rest)}
    return {**colours, naive: NAIVE, shown: ACCENT}


def number(value: float | None) -> str:
    """A figure as people read it: 950, 12.4 k, 3.05 M."""
    if value is None or not math.isfinite(value):
        return NONE
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.1f}"


def percent(value: float | None, *, signed: bool = False) -> str:
    """0.124 as 12.4 %."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:+.1%}" if signed else f"{value:.1%}"


def day(value: str | date | pd.Timestamp) -> str:
    """A date as 15 Aug 2017."""
    return f"{pd.Timestamp(value):%d %b %Y}".lstrip("0")


def ago(when: datetime | str | None) -> str:
    """How long ago something was, in its largest unit."""
    if not when:
        return NONE
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def duration(seconds: float) -> str:
    """A time span: 8 s, 3 min 20 s, 1 h 5 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
