"""The HTML page of a report: one file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from storecast.metrics import rmsle, score
from storecast.report.inputs import ReportInputs
from storecast.report.style import write_png
from storecast.segments import VOLUME
from storecast.store.draft import draft_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
FORMATS = {
    "rmsle": "{:.4f}",
    "change": "{:+.1%}",
    "mae": "{:,.2f}",
    "wape": "{:.1%}",
    "mase": "{:.3f}",
    "bias": "{:+.1%}",
    "quantile_loss": "{:.4f}",
    "coverage_80": "{:.1%}",
    "coverage_95": "{:.1%}",
}


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its file, and what it shows for those who do not see it."""

    path: Path
    alt: str

    @property
    def source(self) -> str:
        """The image itself as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.path.read_bytes()).decode("ascii")


@dataclass(frozen=True)
class Table:
    """A table of the page: text cells; the row of the shown model is marked."""

    columns: list[str]
    rows: list[list[str]]
    marked: int = -1


def write_report(folder: Path, inputs: ReportInputs) -> list[Path]:
    """Write report.html and its pictures.

    Pictures: comparison, forecasts, horizon, groups (where there is a column to group by), coverage, weights
    (where there are weights), each as .png. The same inputs give the same bytes.

    Args:
        folder: where to; created where it is not there.
        inputs: the material.

    Returns:
        The files, the page first.

    Raises:
        DataError: the cv table lacks a column.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(folder, inputs)
    content = _environment().get_template("page.html.j2").render(**_content(inputs), pictures=pictures)
    with draft_of(folder / PAGE) as draft:
        draft.write_text(content, encoding="utf-8")
    return [folder / PAGE, *(picture.path for picture in pictures.values())]


def _pictures(folder: Path, inputs: ReportInputs) -> dict[str, Picture]:
    from storecast.report import figures, forecasts

    wanted: dict[str, tuple[Callable[[ReportInputs], Figure], str]] = {
        "comparison": (figures.comparison, "RMSLE of each model in each fold, as bars"),
        "forecasts": (forecasts.forecasts, "Forecasts with intervals beside actual sales of six series"),
        "horizon": (figures.by_horizon, "RMSLE of each model by date ahead, as lines"),
        "coverage": (figures.coverage, "Share of actuals inside the intervals, by model and fold"),
    }
    if inputs.group_column:
        wanted["groups"] = (figures.by_group, f"RMSLE by {inputs.group_column} and model, as a heat map")
    if inputs.weights is not None:
        wanted["weights"] = (figures.weights, f"Blend weights by {inputs.weights.column}, as stacked bars")
    return {
        name: Picture(write_png(folder / f"{name}.png", partial(draw, inputs)), alt)
        for name, (draw, alt) in wanted.items()
    }


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _content(inputs: ReportInputs) -> dict[str, Any]:
    cutoffs = sorted(inputs.cv["cutoff"].unique())
    panel = inputs.panel
    start, end = inputs.last_fold["ds"].min(), inputs.last_fold["ds"].max()
    return {
        "title": inputs.title,
        "facts": [
            f"{panel.n_series:,} series",
            f"history {panel.dates[0]:%d %b %Y} to {panel.cutoff:%d %b %Y}",
            f"{len(cutoffs)} backtest fold{'s' if len(cutoffs) != 1 else ''}",
            f"last fold {start:%d %b %Y} to {end:%d %b %Y}",
        ],
        "shown": inputs.shown_model,
        "sentence": _sentence(inputs),
        "headline": _score_table(inputs, inputs.last_fold),
        "overall": _score_table(inputs, inputs.cv) if len(cutoffs) > 1 else None,
        "volume": _volume_table(inputs) if VOLUME in inputs.cv else None,
        "levels": _level_table(inputs.levels),
        "decision": inputs.decision,
        "comparisons": _comparison_table(inputs),
        "fallbacks": _fallbacks(inputs),
        "quality": _flat(inputs.quality),
        "lineage": {str(key): str(value) for key, value in inputs.lineage.items()},
        "group": inputs.group_column,
    }


def _sentence(inputs: ReportInputs) -> str:
    """The result in one sentence."""
    scores = rmsle(inputs.last_fold, ["model"]).set_index("model")["rmsle"]
    shown = inputs.shown_model
    if inputs.naive not in scores or shown == inputs.naive:
        return f"In the last fold {shown} reaches an RMSLE of {scores[shown]:.4f}."
    change = scores[shown] / scores[inputs.naive] - 1 if scores[inputs.naive] else 0.0
    direction = "below" if change < 0 else "above"
    return (
        f"In the last fold {shown} reaches an RMSLE of {scores[shown]:.4f}, {abs(change):.1%} {direction} "
        f"the seasonal naive's {scores[inputs.naive]:.4f}."
    )


def _score_table(inputs: ReportInputs, rows: pd.DataFrame) -> Table:
    """Models with their scores, the best first."""
    scores = score(rows, ["model"], inputs.scale).sort_values(["rmsle", "model"]).reset_index(drop=True)
    naive = scores.loc[scores["model"] == inputs.naive, "rmsle"]
    base = float(naive.iloc[0]) if len(naive) else float("nan")
    scores["change"] = scores["rmsle"] / base - 1 if base else np.nan
    scores.loc[scores["model"] == inputs.naive, "change"] = np.nan
    columns = [
        *("Model", "RMSLE", "vs naive", "MAE", "WAPE", "MASE", "Bias"),
        *("Quantile loss", "80 % covers", "95 % covers"),
    ]
    cells = [
        [
            str(row["model"]),
            *(_number(row[name], form) for name, form in FORMATS.items()),
        ]
        for row in scores.to_dict("records")
    ]
    return Table(columns, cells, _position(cells, inputs.shown_model))


def _volume_table(inputs: ReportInputs) -> Table:
    """RMSLE of the last fold by model and volume class."""
    scores = rmsle(inputs.last_fold, ["model", VOLUME])
    table = scores.pivot(index="model", columns=VOLUME, values="rmsle")
    overall = rmsle(inputs.last_fold, ["model"]).set_index("model")["rmsle"].sort_values()
    cells = [[str(name), *(_number(value, "{:.4f}") for value in table.loc[name])] for name in overall.index]
    return Table(["Model", *map(str, table.columns)], cells, _position(cells, inputs.shown_model))


def _level_table(levels: pd.DataFrame | None) -> Table | None:
    """Errors of sums by level: what the points add up to, the sums' own forecasts, and both reconciled."""
    if levels is None:
        return None
    kinds = {"points": "points", "own": "own", "mean": "reconciled"}
    scores = {"wape": "WAPE", "rmsle": "RMSLE", "bias": "Bias"}
    columns = ["Level", "Sums", *(f"{name}, {kind}" for name in scores.values() for kind in kinds.values())]
    cells = []
    for (level, nodes), part in levels[levels["cutoff"] == "all"].groupby(["level", "nodes"], sort=False):
        found = part.set_index("kind").to_dict()
        values = [_number(found[name][kind], FORMATS[name]) for name in scores for kind in kinds]
        covers = [_number(found[name]["mean"], FORMATS[name]) for name in ("coverage_80", "coverage_95")]
        cells.append([str(level), f"{nodes:,}", *values, *covers])
    return Table([*columns, "80 % covers", "95 % covers"], cells)


def _comparison_table(inputs: ReportInputs) -> Table | None:
    if inputs.decision is None:
        return None
    cells = [
        [
            f"{line.column} = {line.segment}" if line.column else "all rows",
            line.against,
            f"{line.rows:,}",
            f"{line.challenger:.4f}",
            f"{line.other:.4f}",
            f"{line.change:+.1%}",
            "shown only" if not line.decisive else "passed" if line.passed else "failed",
        ]
        for line in inputs.decision.comparisons
    ]
    return Table(["Segment", "Against", "Rows", "Challenger", "Other", "Change", "Verdict"], cells)


def _fallbacks(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Fallbacks grouped by model, reason and what was used, the most frequent first."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in inputs.fallbacks:
        key = (str(item.get("model", "")), str(item["reason"]), str(item["used"]))
        groups.setdefault(key, []).append(str(item["unique_id"]))
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        {"model": model, "reason": reason, "used": used, "series": sorted(set(names))}
        for (model, reason, used), names in ordered
    ]


def _flat(counts: Any, prefix: str = "") -> dict[str, str]:
    """Nested counts as "outer: inner" lines."""
    out: dict[str, str] = {}
    for key, value in counts.items():
        name = f"{prefix}{key}"
        if hasattr(value, "items"):
            out.update(_flat(value, f"{name}: "))
        else:
            out[name] = f"{value:,}" if isinstance(value, int) else str(value)
    return out


def _number(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "–"


def _position(rows: list[list[str]], model: str) -> int:
    return next((number for number, row in enumerate(rows) if row[0] == model), -1)
