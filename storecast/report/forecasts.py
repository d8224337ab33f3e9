"""The picture of forecasts: a handful of series, what was forecast in the last fold, and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from storecast.report import style
from storecast.report.inputs import ReportInputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_SERIES = 6
HISTORY_HORIZONS, HISTORY_DATES = 3, 21
"""What is shown before a fold: three times what it forecasts, and at least so many dates."""
TITLE_WIDTH = 44
SPAN_OF_MONTHS = 500
"""Days from which an axis tells months and years instead of days and months."""
INTERVALS = (
    ("q0.025", "q0.975", "#dbe7f4", "95 % interval"),
    ("q0.1", "q0.9", "#b3cde8", "80 % interval"),
)


def forecasts(inputs: ReportInputs) -> Figure:
    """History, forecast with its 80 % and 95 % intervals, and actuals of six series of different volume."""
    rows = inputs.last_fold
    rows = rows[(rows["model"] == inputs.shown_model).to_numpy()]
    chosen = representative(inputs, rows)
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    figure, axes = style.new_figure(4.4 * columns, 2.6 * lines + 1.1, lines, columns)
    for axis, name in zip(axes, chosen, strict=False):
        _draw(axis, inputs, name, rows[(rows["unique_id"] == name).to_numpy()].sort_values("ds"))
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("sales")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=9)
    cutoff = rows["cutoff"].iloc[0]
    note = f"{inputs.shown_model}: forecast made after {cutoff:%d %b %Y}, beside what was sold"
    style.headline(figure, "Forecasts and what happened", note)
    return figure


def representative(inputs: ReportInputs, rows: pd.DataFrame) -> list[str]:
    """Up to six series spread over the range of volumes, largest first.

    Of each sixth of the series that sell (by mean sales over the history that is shown), the one whose error
    in the fold is the median one of its sixth: neither the best looking nor the worst.
    """
    known = rows[rows["y"].notna().to_numpy()]
    log_error = (np.log1p(known["yhat"]) - np.log1p(known["y"])) ** 2
    errors = log_error.groupby(known["unique_id"].astype(str)).mean()
    start, end = _window(inputs, rows)
    means = pd.Series(np.nanmean(np.nan_to_num(inputs.panel.y[:, start:end]), axis=1), index=inputs.panel.ids)
    table = pd.DataFrame({"error": errors, "volume": means.reindex(errors.index)}).sort_index()
    selling = table[table["volume"] > 0]
    table = (selling if len(selling) else table).sort_values("volume", ascending=False, kind="stable")
    picked = []
    for part in np.array_split(np.arange(len(table)), min(N_SERIES, len(table))):
        mine = table.iloc[part].sort_values("error", kind="stable")
        picked.append(str(mine.index[len(mine) // 2]))
    return picked


def _window(inputs: ReportInputs, rows: pd.DataFrame) -> tuple[int, int]:
    """First and last position of the history that is shown before the fold."""
    end = int(inputs.panel.dates.searchsorted(rows["cutoff"].iloc[0], side="right"))
    shown = max(HISTORY_HORIZONS * int(rows["h"].max()), HISTORY_DATES)
    return max(0, end - shown), end


def _draw(axis: Axes, inputs: ReportInputs, name: str, fold: pd.DataFrame) -> None:
    start, end = _window(inputs, fold)
    row = int(np.flatnonzero(inputs.panel.ids == name)[0])
    dates = inputs.panel.dates
    ds = fold["ds"].to_numpy()
    for low, high, colour, label in INTERVALS:
        if len(ds) > 1:
            axis.fill_between(ds, fold[low], fold[high], color=colour, linewidth=0, label=label)
        else:
            axis.vlines(ds, fold[low], fold[high], color=colour, linewidth=9, label=label)
    shown = np.concatenate([inputs.panel.y[row, start:end], fold["y"].to_numpy(np.float64)])
    axis.plot(
        [*dates[start:end], *pd.DatetimeIndex(ds)],
        shown,
        color=style.INK,
        linewidth=1.1,
        label="actual sales",
    )
    axis.plot(ds, fold["yhat"], style.line(len(ds)), color=style.ACCENT, linewidth=2, label="forecast")
    axis.axvline(fold["cutoff"].iloc[0], color=style.MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    axis.set_title(style.short(name.replace("|", " · "), TITLE_WIDTH), fontsize=9.5)
    _limit(axis, shown, fold)
    _date_axis(axis, (pd.Timestamp(ds[-1]) - dates[start]).days)


def _limit(axis: Axes, shown: np.ndarray[tuple[int], np.dtype[np.float64]], fold: pd.DataFrame) -> None:
    """From 0 to where actuals and the 80 % interval fit; a wide 95 % interval may be cut."""
    tallest = max(np.nanmax(shown, initial=0.0), float(fold["q0.9"].max()))
    axis.set_ylim(0, max(1.0, min(tallest * 1.5, max(tallest, float(fold["q0.975"].max())) * 1.06)))


def _date_axis(axis: Axes, days: int) -> None:
    """A few dates below the axis, which spans so many days."""
    from matplotlib.dates import AutoDateLocator, DateFormatter, MonthLocator

    long = days > SPAN_OF_MONTHS
    months = MonthLocator(interval=1 + days // (30 * 4))  # type: ignore[no-untyped-call]
    auto = AutoDateLocator(minticks=3, maxticks=5)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(months if long else auto)
    axis.xaxis.set_major_formatter(DateFormatter("%b %Y" if long else "%d %b"))  # type: ignore[no-untyped-call]
    axis.grid(visible=False, axis="x")
    axis.yaxis.set_major_formatter(
        lambda value, _: f"{value:,.0f}" if value == round(value) else f"{value:g}"
    )
