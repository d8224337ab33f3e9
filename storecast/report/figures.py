"""Pictures of scores. Each function takes the inputs and gives a figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from storecast.metrics import INTERVALS, rmsle, score
from storecast.report import style
from storecast.report.inputs import ReportInputs
from storecast.segments import VOLUME_CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_WIDTH = 32
GOALS = {80: (0.76, 0.84), 95: (0.92, 0.97)}
"""Where the coverage of a fold that was not calibrated on should lie."""


def comparison(inputs: ReportInputs) -> Figure:
    """RMSLE of every model per fold, the best of the last fold on top."""
    table = rmsle(inputs.cv, ["model", "cutoff"]).pivot(index="model", columns="cutoff", values="rmsle")
    table = table.sort_values(table.columns[-1], ascending=False)
    special = {inputs.shown_model: style.ACCENT, inputs.naive: style.NAIVE}
    colours = [special.get(str(name), style.PALE) for name in table.index]
    width = min(max(3.4 * len(table.columns) + 1.2, 7), 16)
    figure, axes = style.new_figure(width, 0.42 * len(table) + 1.9, 1, len(table.columns), sharey=True)
    top = float(np.nanmax(table.to_numpy()))
    for axis, cutoff in zip(axes, table.columns, strict=True):
        values = table[cutoff]
        axis.barh(list(map(str, table.index)), values, color=colours, height=0.66)
        for row, value in enumerate(values):
            if np.isfinite(value):
                ink = "white" if table.index[row] == inputs.shown_model else style.INK
                axis.text(value - 0.015 * top, row, f"{value:.3f}", va="center", ha="right", color=ink)
        if inputs.naive in values.index:
            axis.axvline(values[inputs.naive], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axis.set_title(f"after {cutoff:%d %b %Y}")
        axis.set_xlim(0, top * 1.05)
        axis.set_xlabel("RMSLE (lower is better)")
        axis.grid(visible=False, axis="y")
    note = "Pooled over all series and dates of each fold; dashed: the seasonal naive"
    style.headline(figure, "Models against the seasonal naive", note)
    return figure


def by_horizon(inputs: ReportInputs) -> Figure:
    """RMSLE by date ahead, one line per model, over all folds."""
    table = rmsle(inputs.cv, ["model", "h"]).pivot(index="h", columns="model", values="rmsle")
    from matplotlib.ticker import MaxNLocator

    colours = style.model_colours(table.columns, inputs.shown_model, inputs.naive)
    figure, (axis,) = style.new_figure(8.6, 4.4)
    for name in table.columns:
        strong = name == inputs.shown_model
        axis.plot(
            table.index,
            table[name],
            style.line(len(table)),
            color=colours[name],
            linewidth=2.6 if strong else 1.5,
            zorder=3 + strong,
        )
    _label_ends(axis, table, colours)
    axis.set_xlabel(f"{inputs.panel.frequency.unit}s ahead")
    axis.set_ylabel("RMSLE")
    axis.set_ylim(bottom=0)
    if len(table) > 1:
        axis.set_xlim(table.index.min(), table.index.max())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.headline(figure, "How the error grows with the horizon", "Pooled over all folds and series")
    return figure


def by_group(inputs: ReportInputs) -> Figure:
    """RMSLE of the last fold by group and model; the colour compares with the seasonal naive."""
    column = inputs.group_column
    table = rmsle(inputs.last_fold, ["model", column])
    table = table.pivot(index=column, columns="model", values="rmsle")
    overall = rmsle(inputs.last_fold, ["model"]).set_index("model")["rmsle"]
    table = table[list(overall.sort_values().index)]
    table = table.sort_values(inputs.shown_model, ascending=False)
    base = table[inputs.naive] if inputs.naive in table else table.mean(axis=1)
    change = table.div(base.where(base > 0), axis=0) - 1
    figure, (axis,) = style.new_figure(max(5.5, 1.05 * table.shape[1] + 2.6), 0.27 * len(table) + 2.0)
    image = axis.imshow(change.to_numpy(np.float64), cmap="RdBu_r", vmin=-0.6, vmax=0.6, aspect="auto")
    values, shades = table.to_numpy(np.float64), change.to_numpy(np.float64)
    for row, col in np.ndindex(table.shape):
        value, ink = values[row, col], "white" if abs(shades[row, col]) > 0.38 else style.INK
        text = f"{value:.3f}" if np.isfinite(value) else "–"
        axis.text(col, row, text, ha="center", va="center", fontsize=8.5, color=ink)
    axis.set_xticks(range(table.shape[1]), list(table.columns), color=style.INK)
    names = [style.short(str(name), LABEL_WIDTH) for name in table.index]
    axis.set_yticks(range(len(table)), names, fontsize=8.5)
    axis.xaxis.tick_top()
    axis.grid(visible=False)
    bar = figure.colorbar(image, ax=axis, shrink=min(1.0, 5 / len(table) + 0.3), aspect=24, pad=0.02)
    bar.set_label("RMSLE against the seasonal naive", color=style.MUTED)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
    bar.outline.set_visible(False)
    style.headline(figure, f"Error by {column}", "RMSLE in the last fold; blue beats the seasonal naive")
    return figure


def coverage(inputs: ReportInputs) -> Figure:
    """Share of actuals inside the 80 % and 95 % intervals per model and fold, beside where it should be."""
    from matplotlib.ticker import MaxNLocator

    table = score(inputs.cv, ["model", "cutoff"])
    models = list(rmsle(inputs.last_fold, ["model"]).sort_values("rmsle", ascending=False)["model"])
    cutoffs = sorted(table["cutoff"].unique())
    figure, axes = style.new_figure(10, 0.4 * len(models) + 2.2, 1, 2, sharey=True)
    shades = [*np.linspace(0.75, 0.45, max(len(cutoffs) - 1, 1)).astype(str)][: len(cutoffs) - 1]
    colours = [*shades, style.ACCENT]
    for axis, (percent, _, _) in zip(axes, INTERVALS, strict=True):
        low, high = GOALS[percent]
        axis.axvspan(low, high, color=style.TARGET, linewidth=0)
        axis.axvline(percent / 100, color="#7fae85", linewidth=1)
        for cutoff, colour in zip(cutoffs, colours, strict=True):
            fold = table[table["cutoff"] == cutoff].set_index("model").reindex(models)
            last = cutoff == cutoffs[-1]
            axis.scatter(
                fold[f"coverage_{percent}"],
                range(len(models)),
                color=colour,
                s=52 if last else 34,
                zorder=3 + last,
                label=f"fold after {cutoff:%d %b %Y}",
            )
        axis.set_yticks(range(len(models)), models)
        axis.set_title(f"{percent} % interval")
        axis.set_xlabel("share of actuals inside")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        left, right = axis.get_xlim()
        axis.set_xlim(min(left, low - 0.04), min(max(right, high + 0.03), 1.005))
        axis.set_ylim(-0.6, len(models) - 0.4)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=min(len(cutoffs), 5), fontsize=9)
    note = "Each fold after the first is calibrated on the folds before it; green: where it should lie"
    style.headline(figure, "Do the intervals hold?", note)
    return figure


def weights(inputs: ReportInputs) -> Figure:
    """The blend's weights per segment as stacked bars."""
    if inputs.weights is None:
        raise ValueError("a picture of weights needs weights")
    table = inputs.weights.to_frame().pivot(index="segment", columns="model", values="weight").fillna(0.0)
    table = table.loc[:, table.max() > 0]
    order = list(table.mean().sort_values(ascending=False).index)
    colours = style.model_colours([*order, inputs.shown_model], inputs.shown_model, inputs.naive)
    table = table.loc[_in_order(map(str, table.index))[::-1], order]
    figure, (axis,) = style.new_figure(8.6, 0.44 * len(table) + 1.8)
    left = np.zeros(len(table))
    for name in order:
        share = table[name].to_numpy()
        axis.barh(
            [str(r) for r in table.index], share, left=left, color=colours[name], label=name, height=0.68
        )
        for row, (start, value) in enumerate(zip(left, share, strict=True)):
            if value >= 0.06:
                axis.text(start + value / 2, row, f"{value:.0%}", ha="center", va="center", color="white")
        left += share
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.grid(visible=False)
    axis.spines[["left", "bottom"]].set_visible(False)
    figure.legend(loc="outside lower left", ncols=min(len(order), 7), fontsize=9)
    title = f"The blend's weights by {inputs.weights.column}"
    style.headline(figure, title, "Share of each model in the blended forecast")
    return figure


def _in_order(names: Iterable[str]) -> list[str]:
    """Volume classes from none to high, other segments by name, "all" last."""
    rank = {name: position for position, name in enumerate(VOLUME_CLASSES)}
    return sorted(names, key=lambda name: (name == "all", rank.get(name, len(rank)), name))


def _label_ends(axis: Axes, table: pd.DataFrame, colours: dict[str, str]) -> None:
    """Names at the right ends of the lines, pushed apart where they would overlap."""
    last = table.iloc[-1].sort_values()
    gap = float(np.nanmax(table.to_numpy())) * 0.048
    position = -np.inf
    for name, value in last.items():
        position = max(float(value), position + gap)
        axis.annotate(
            str(name),
            (table.index[-1], position),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colours[str(name)],
            annotation_clip=False,
        )
