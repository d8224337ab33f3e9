"""One look for all pictures, and files that are the same bytes for the same figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from storecast.store.draft import draft_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7ec"
ACCENT, PALE, NAIVE = "#1f5fa8", "#a9c3e0", "#b4bcc6"
OTHERS = ("#d98324", "#4f9d69", "#a05195", "#c44e52", "#64b5cd", "#8c7b5a", "#5b6abf")
TARGET = "#dcebdd"

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,
}


def model_colours(models: Iterable[str], shown: str, naive: str) -> dict[str, str]:
    """A colour per model: grey for the naive, the accent for the shown model, by name for the rest."""
    rest = sorted(set(models) - {shown, naive})
    colours = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(rest)}
    return {**colours, naive: NAIVE, shown: ACCENT}


def short(name: str, width: int) -> str:
    """The name, cut where it is wider than so many letters; Chinese, Japanese and Korean ones count twice."""
    ends = list(accumulate(1 + (east_asian_width(letter) in "WF") for letter in name))
    if not ends or ends[-1] <= width:
        return name
    return name[: sum(end < width for end in ends)] + "…"


def line(points: int) -> str:
    """How matplotlib draws so many points: one alone is no line, and gets a mark."""
    return "-" if points > 1 else "o"


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of that many inches with its axes row by row; without pyplot, so threads do not meet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def headline(figure: Figure, title: str, note: str = "") -> None:
    """A title in sentence case over a quieter line that says what is shown."""
    text = figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    if note:
        text.set_text(f"{title}\n ")
        figure.text(0.01, 1 - 0.375 / figure.get_figheight(), note, ha="left", va="center", color=MUTED)


def write_png(path: Path, draw: Callable[[], Figure]) -> Path:
    """Draw under the house style and write the PNG: no dates or versions in it, renamed into place.

    A letter that the font lacks is drawn as a box, without a warning.
    """
    from matplotlib import rc_context

    warnings.filterwarnings("ignore", "Glyph .* missing from font")
    with rc_context(RC), draft_of(path) as draft:
        draw().savefig(draft, format="png", dpi=110, metadata={"Software": None})
    return path
