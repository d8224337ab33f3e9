"""Checked rows onto one time axis: gaps, closed days, the future, and the covariates of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.frequency import frequency
from storecast.ingest.context import Context
from storecast.ingest.ledger import Ledger
from storecast.ingest.numbered import Numbers, numbers_of, parts
from storecast.ingest.quality import Tally
from storecast.panel import Floats, tell_ahead
from storecast.panel_io import series_at_once

Mask = NDArray[np.bool_]
SLIPS = 0.01
"""Share of rows in which what is never 0, such as a price, may be 0 all the same."""
SILENT_WEEKS = 8
"""Without a row for so long a series has ended: it sells nothing, rather than something not yet known."""
SALES_ONLY = 0.05
"""Share of gaps from which rows that are hardly ever of no sale are of sales only."""


@dataclass(frozen=True)
class Axes:
    """The axes of the panel: series (rows) and dates (columns), the first `n_history` of them history."""

    ids: NDArray[np.object_]
    keys: pd.DataFrame
    dates: pd.DatetimeIndex
    n_history: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n_series, n_dates)."""
        return len(self.ids), len(self.dates)

    def cells(self, frame: pd.DataFrame, separator: str) -> NDArray[np.int64]:
        """Flat cell of each row of `frame` (`ds` and the keys); -1 where the axes do not hold it."""
        series = _Numbered.of(frame, list(self.keys.columns), separator)
        place = np.append(pd.Index(self.ids).get_indexer(pd.Index(series.ids)), -1)
        dates = pd.DatetimeIndex(frame["ds"])
        cells = np.empty(len(frame), dtype=np.int64)
        for part in parts(len(frame)):
            rows, columns = place[series.of_rows(part)], self.dates.get_indexer(dates[part])
            cells[part] = np.where((rows >= 0) & (columns >= 0), rows * len(self.dates) + columns, -1)
        return cells

    def name(self, cell: int) -> str:
        """A cell for people: series and date."""
        row, column = divmod(cell, len(self.dates))
        return f"{self.ids[row]} on {self.dates[column].date()}"


def make_axes(context: Context, frames: Sequence[pd.DataFrame]) -> Axes:
    """The axes for the history (first frame) and the future rows (second, if any)."""
    config = context.config
    keys = pd.concat([_key_table(frame, list(config.keys), config.key_separator) for frame in frames])
    keys = keys[~keys.index.duplicated()].sort_index()
    start, cutoff = frames[0]["ds"].min(), frames[0]["ds"].max()
    history = pd.date_range(start, cutoff, freq=config.frequency, unit="ns")
    future = pd.date_range(cutoff, periods=config.horizon + 1, freq=config.frequency, unit="ns")[1:]
    ids = np.array(keys.index, dtype=object)
    return Axes(ids, keys, pd.DatetimeIndex(history.append(future)), len(history))


def _key_table(frame: pd.DataFrame, keys: list[str], separator: str) -> pd.DataFrame:
    series = _Numbered.of(frame, keys, separator)
    return series.keys.set_index(pd.Index(series.ids, name="unique_id"))


@dataclass(frozen=True, eq=False)
class _Numbered:
    """The series of a frame's rows.

    Attributes:
        code: tells some rows' series by a number, -1 where a key is missing.
        codes: (n,) sorted numbers of the series that there are.
        keys: their keys, as text.
        ids: their unique_ids.
    """

    code: Numbers
    codes: NDArray[np.int64]
    keys: pd.DataFrame
    ids: list[str]

    @classmethod
    def of(cls, frame: pd.DataFrame, keys: list[str], separator: str) -> _Numbered:
        """The series of the rows of a frame; a row that misses a key is of none."""
        code = _coder(frame, keys)
        codes, first = np.empty((2, 0), dtype=np.int64)
        for part in parts(len(frame)):
            numbers, here = pd.factorize(code(part))
            places = np.empty(len(here), dtype=np.int64)
            places[numbers[::-1]] = np.arange(part.stop - 1, part.start - 1, -1)
            new = (here >= 0) & ~np.isin(here, codes)
            codes, first = np.append(codes, here[new]), np.append(first, places[new])
        order = np.argsort(codes)
        table = frame.iloc[first[order]][keys].astype(str).reset_index(drop=True)
        ids = [separator.join(values) for values in table.itertuples(index=False, name=None)]
        return cls(code, codes[order], table, ids)

    def of_rows(self, part: slice) -> NDArray[np.int64]:
        """Number of the series of each of these rows; -1: of none."""
        code = self.code(part)
        return np.where(code >= 0, np.searchsorted(self.codes, code), -1)


def _coder(frame: pd.DataFrame, keys: list[str]) -> Numbers:
    """What tells the series of some rows by a number; -1 where a key is missing."""
    numbers = numbers_of(frame, keys)
    if numbers is None:
        whole = frame.groupby(keys, observed=True).ngroup().to_numpy()
        return lambda part: whole[part].astype(np.int64)
    categories = [frame[key].cat.codes.to_numpy() for key in keys]

    def code(part: slice) -> NDArray[np.int64]:
        found = numbers(part)
        found[np.any([codes[part] < 0 for codes in categories], axis=0)] = -1
        return found

    return code


def history_target(
    context: Context, axes: Axes, cells: NDArray[np.int64], target: pd.Series, audit: Ledger
) -> tuple[Floats, Mask]:
    """(n, T) target with gaps and closed days filled by the rules, and which cells a row stands for.

    Behind a series' last row it is not observed: the row may be late. But it sold nothing where rows are sent
    of sales only, or where none has come for eight weeks.

    Args:
        context: the ingest.
        axes: the panel's.
        cells: the cell of each row of the history.
        target: its sales.
        audit: its account.
    """
    rules, separator = context.config.rules, context.config.key_separator
    y = np.full(axes.shape, np.nan)
    y.reshape(-1)[cells] = target.to_numpy()
    has_row = np.zeros(axes.shape, dtype=bool)
    has_row.reshape(-1)[cells] = True
    lost = np.zeros(axes.shape, dtype=bool)
    if len(audit.lost_rows):
        gone = axes.cells(audit.lost_rows, separator)
        lost.reshape(-1)[gone[gone >= 0]] = True
    lost &= ~has_row
    closed: Mask = np.asarray(~(has_row | lost)[:, : axes.n_history].any(axis=0))
    inside = _between_first_and_last(has_row) & ~has_row
    gaps = inside & ~lost & ~_columns(closed, axes)
    _fill(context, axes, y, gaps, "gaps", rules.gaps)
    _fill(context, axes, y, inside & ~lost & _columns(closed, axes), "closed_days", rules.closed_days)
    if rules.gaps == "zero" and not has_row[:, axes.n_history - 1].all():
        silent = 1 if _of_sales_only(target, int(gaps.sum())) else SILENT_WEEKS * _week(context)
        _fill(context, axes, y, _ended(axes, has_row, silent) & ~lost, "ended", rules.gaps)
    if (lost & inside).any():
        _note_added(
            context, axes, lost & inside, "quarantined", "cells left not observed: their row is quarantined"
        )
    return y, has_row


def _columns(closed: Mask, axes: Axes) -> Mask:
    row = np.zeros(axes.shape[1], dtype=bool)
    row[: axes.n_history] = closed
    return row[None, :]


def _between_first_and_last(has_row: Mask) -> Mask:
    return np.asarray(np.maximum.accumulate(has_row, axis=1) & _up_to_last(has_row))


def _up_to_last(has_row: Mask) -> Mask:
    return np.maximum.accumulate(has_row[:, ::-1], axis=1)[:, ::-1]


def _ended(axes: Axes, has_row: Mask, silent: int) -> Mask:
    """(n, T) the dates of the history behind the last row of each series that has none for so many dates."""
    history = has_row[:, : axes.n_history]
    behind = ~_up_to_last(history) & history.any(axis=1, keepdims=True)
    ended = np.zeros(axes.shape, dtype=bool)
    ended[:, : axes.n_history] = behind & (behind.sum(axis=1, keepdims=True) >= silent)
    return ended


def _week(context: Context) -> int:
    return frequency(context.config.frequency).week


def _of_sales_only(target: pd.Series, gaps: int) -> bool:
    """Whether a date without a sale has no row."""
    zeros = int((target == 0).sum())
    return zeros <= SLIPS * len(target) and gaps > SALES_ONLY * (len(target) + gaps)


def _fill(context: Context, axes: Axes, y: Floats, where: Mask, name: str, rule: str) -> None:
    if not where.any():
        return
    what = {
        "gaps": "gaps inside a series",
        "closed_days": "dates on which no series has a row",
        "ended": "dates behind a series' last row",
    }[name]
    if rule == "zero":
        y[where] = 0.0
        _note_added(context, axes, where, name, f"rows for {what}: sales set to 0")
    else:
        _note_added(context, axes, where, f"{name}_missing", f"cells for {what}: left not observed")


def _note_added(context: Context, axes: Axes, where: Mask, name: str, rule: str) -> None:
    first = axes.name(int(where.ravel().argmax()))
    context.report.added[name] = Tally(int(where.sum()), rule, first)


def split_future(
    context: Context, axes: Axes, future: tuple[pd.DataFrame, Ledger] | None
) -> pd.DataFrame | None:
    """The future rows inside the horizon; closes the account of the future file."""
    if future is None:
        return None
    frame, audit = future
    beyond = frame["ds"] > axes.dates[-1]
    if beyond.any():
        rows = frame.index[beyond].to_numpy(dtype=np.int64)
        audit.leave_out("beyond", rows, f"rows after {axes.dates[-1].date()}, beyond the horizon")
        frame = frame[~beyond]
    past = frame["ds"] <= axes.dates[axes.n_history - 1]
    if past.any():
        rows = frame.index[past].to_numpy(dtype=np.int64)
        audit.leave_out("past", rows, "rows of dates that have become history: their sales have arrived")
        frame = frame[~past]
    context.close(audit, frame.index)
    first = axes.dates[axes.n_history]
    if len(frame) and frame["ds"].min() > first:
        context.report.notes.append(
            f"the history ends on {axes.dates[axes.n_history - 1].date()}, the future file starts on "
            f"{frame['ds'].min().date()}: the dates between are forecast as well"
        )
    return frame


def known_covariates(
    context: Context,
    axes: Axes,
    cells: NDArray[np.int64],
    train: pd.DataFrame,
    future: pd.DataFrame | None,
) -> tuple[dict[str, Floats], dict[str, str]]:
    """(n, T) each known-future covariate of the train and future files, without NaN; and by which rule
    those are filled that no future row tells.

    History cells without a row get 0, as no promotion is known of them; but of a measure that rows always
    have, such as a price, the value of the row before: a price of 0 would tell that nothing was sold. Future
    cells without a value follow `rules.future_known`.

    Args:
        context: the ingest.
        axes: the panel's.
        cells: the cell of each row of the history.
        train: the history; a column is taken out of it as it is placed.
        future: the future rows, if there are any.

    Raises:
        DataError: future values are missing and the rule is "error".
    """
    future_cells = None if future is None else axes.cells(future, context.config.key_separator)
    out, unplanned = dict[str, Floats](), dict[str, str]()
    for name in context.config.known:
        values, told = np.full(axes.shape, np.nan), train.pop(name).to_numpy()
        carried = _is_measure(told)
        if not carried:
            values[:, : axes.n_history] = 0.0
        values.reshape(-1)[cells] = told
        if future is not None and future_cells is not None and name in future:
            values.reshape(-1)[future_cells] = future[name].to_numpy()
        if carried:
            _carry(context, axes, values, name)
        if np.isnan(values[:, axes.n_history :]).all():
            unplanned[name] = context.config.rules.future_known
        _fill_future(context, axes, values, name)
        out[name] = values
    return out, unplanned


def _is_measure(values: Floats) -> bool:
    """Whether a covariate is no flag and hardly ever 0, so that 0 would tell dates without a row."""
    zeros = int((values == 0).sum())
    return zeros <= SLIPS * len(values) and not bool(np.isin(values, (0.0, 1.0)).all())


def _carry(context: Context, axes: Axes, values: Floats, name: str) -> None:
    """Give history cells without a row the value of the last row before, or else of the first one after."""
    end = axes.n_history
    absent = np.isnan(values) & (np.arange(axes.shape[1]) < end)
    if not absent.any():
        return
    step = series_at_once(axes.shape[1])
    for part in (slice(at, at + step) for at in range(0, axes.shape[0], step)):
        whole = pd.DataFrame(values[part].T).ffill().bfill().fillna(0.0)
        values[part, :end] = whole.to_numpy().T[:, :end]
    rule = f"{name} of dates without a row: as in the row before, before the first row as in that one"
    _note_added(context, axes, absent, f"carried_{name}", rule)


def _fill_future(context: Context, axes: Axes, values: Floats, name: str) -> None:
    absent = np.isnan(values)
    if not absent.any():
        return
    rule = context.config.rules.future_known
    if rule == "error":
        raise DataError(
            f"{name} is not known for {int(absent.sum()):,} of the "
            f"{axes.shape[0] * context.config.horizon:,} future cells",
            where=" or ".join(context.config.future) or "no `future` file in the dataset config",
            expected=f"{context.config.known[name]} for each series on each date "
            f"{axes.dates[axes.n_history].date()}..{axes.dates[-1].date()}",
            found=f"none for {axes.name(int(absent.ravel().argmax()))}",
            cure="add the rows or the column to the future file, or set `rules: {future_known: zero}` or "
            "`last_season`",
        )
    tell_ahead(values, absent, axes.n_history, frequency(context.config.frequency).season, rule)
    words = "0" if rule == "zero" else "the value one season earlier"
    _note_added(context, axes, absent, f"future_{name}", f"future values of {name} set to {words}")
