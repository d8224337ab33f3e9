"""The feature table: one row per series, cutoff and day ahead, for models that forecast each day directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.features.known import calendar_features, holiday_features
from storecast.features.past import Past, pair_name
from storecast.features.peers import Pair
from storecast.features.sample import EVERYTHING, Sample
from storecast.panel import Floats, Panel

STEP_DAYS = 5
"""Days between training cutoffs: prime to 7, so that each day ahead meets each weekday."""
WINDOW_DAYS = 560
MIN_HISTORY_WEEKS = 8
SPAN_DATES = 91
"""Cutoffs of so many dates share the sums over the past that their features are told from."""
DIGITS = 5
"""Features are kept with so many digits after the point."""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of `rows` (series, cutoff, day ahead), ordered by cutoff, then series, then day.

    Attributes:
        names: the k feature names.
        values: (rows, k) float32, NaN where unknown.
        ids: (n,) unique_id of the panel's series.
        series: (rows,) position of the row's series in `ids`.
        cutoff: (rows,) datetime64[ns], the last date whose target the row has seen.
        ds: (rows,) datetime64[ns], the date the row is about.
        h: (rows,) dates ahead of the cutoff, from 1.
        y: (rows,) the target, NaN where the panel does not know it.
        categories: for each static column the values that its codes 0, 1, ... stand for.
    """

    names: list[str]
    values: NDArray[np.float32]
    ids: NDArray[np.object_]
    series: NDArray[np.int32]
    cutoff: NDArray[np.datetime64]
    ds: NDArray[np.datetime64]
    h: NDArray[np.int16]
    y: NDArray[np.float32]
    categories: dict[str, list[str]]

    def column(self, name: str) -> NDArray[np.float32]:
        """(rows,) one feature."""
        return self.values[:, self.names.index(name)]

    def select(self, rows: slice | NDArray[np.bool_]) -> FeatureTable:
        """The table with only these rows."""
        return replace(
            self,
            values=np.ascontiguousarray(self.values[rows]),
            series=self.series[rows],
            cutoff=self.cutoff[rows],
            ds=self.ds[rows],
            h=self.h[rows],
            y=self.y[rows],
        )

    def to_frame(self) -> pd.DataFrame:
        """Long form: `unique_id, cutoff, ds, h, y`, then the features."""
        keys = {"cutoff": self.cutoff, "ds": self.ds, "h": self.h, "y": self.y}
        head = pd.DataFrame({"unique_id": self.ids[self.series], **keys})
        return pd.concat([head, pd.DataFrame(self.values, columns=self.names)], axis=1)


def categories_of(panel: Panel) -> dict[str, list[str]]:
    """The values of each static column, sorted: what the codes of a feature table stand for."""
    return {str(name): sorted(panel.static[name].unique()) for name in panel.static.columns}


def pairs_in(names: Sequence[str], static: Iterable[str]) -> list[Pair]:
    """The pairs of static columns that features of these names are pooled over."""
    pairs = [(str(one), str(other)) for one, other in combinations(static, 2)]
    return [pair for pair in pairs if any(name.startswith(f"{pair_name(pair)}_") for name in names)]


def window_start(panel: Panel, days: int) -> pd.Timestamp:
    """The date before a window of so many days that ends at the cutoff; of months it is longer."""
    return panel.cutoff - pd.Timedelta(days=days * panel.frequency.stretch)


def training_cutoffs(
    panel: Panel, step_days: int = STEP_DAYS, window_days: int = WINDOW_DAYS
) -> pd.DatetimeIndex:
    """Cutoffs to learn from: every `step_days` days in the last `window_days` before the panel's cutoff.

    They lie on a grid fixed in time, so that the cutoffs of two folds coincide where their windows
    overlap. The last are less than a horizon before the cutoff: their rows that are not observed yet
    are left out. Some weeks of history precede each, where the panel has them. In a weekly or monthly panel
    every date of the window is a cutoff, and the window of a monthly one has as many dates as a weekly one's.
    """
    history = panel.dates[: panel.n_history]
    week = panel.frequency.week
    start = history[min(MIN_HISTORY_WEEKS * week, len(history) // 2)]
    inside = (history >= start) & (history < panel.cutoff)
    inside &= history > window_start(panel, window_days)
    if week > 1:
        inside &= (history - pd.Timestamp("2000-01-03")).days % step_days == 0
    return history[inside]


def build(
    panel: Panel,
    cutoffs: Iterable[pd.Timestamp],
    *,
    horizon: int | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
    pairs: Sequence[Pair] | None = None,
    past: Past | None = None,
    observed_only: bool = False,
    sample: Sample = EVERYTHING,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureTable:
    """Features of the `horizon` dates after each cutoff, for every series.

    A row has seen nothing after its cutoff but what is known in advance: the calendar, holidays, and
    the known-future covariates up to the end of its own horizon.

    Args:
        panel: the history, and the known future.
        cutoffs: dates of the panel, at most its own cutoff.
        horizon: dates ahead; None: the panel's. Fewer where the panel's axis ends.
        categories: static values by code, as fitted; None: the panel's own. Unknown values become NaN.
        pairs: pairs of static columns over which to pool, as fitted (`pairs_in`); None: by the panel.
        past: the panel's past, where it has been prepared already; `pairs` are then its own.
        observed_only: leave out the rows whose target is unknown (for training).
        sample: the series whose rows are taken at each cutoff.
        progress: called with (done, total) cutoffs.

    Raises:
        DataError: there is no cutoff, or one is not a date of the panel's history.
    """
    wanted = pd.DatetimeIndex(sorted(cutoffs))
    positions, steps = _positions(panel, wanted), panel.horizon if horizon is None else horizon
    taken = [sample.at(cutoff, panel.n_series) for cutoff in wanted]
    rows = sum(
        int(_kept(panel, at, steps, observed_only)[some].sum())
        for at, some in zip(positions, taken, strict=True)
    )
    tables = each_table(
        panel,
        wanted,
        horizon=horizon,
        categories=categories,
        pairs=pairs,
        past=past,
        observed_only=observed_only,
    )
    chosen = (
        table if some.all() else table.select(some[table.series])
        for table, some in zip(tables, taken, strict=True)
    )
    return stacked(_watched(chosen, len(wanted), progress), rows)


def each_table(
    panel: Panel,
    cutoffs: Iterable[pd.Timestamp],
    *,
    horizon: int | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
    pairs: Sequence[Pair] | None = None,
    past: Past | None = None,
    observed_only: bool = False,
) -> Iterator[FeatureTable]:
    """The same as `build`, one table per cutoff, in the order of `cutoffs`: quickest where these ascend."""
    positions = _positions(panel, pd.DatetimeIndex(list(cutoffs)))
    steps = panel.horizon if horizon is None else horizon
    codes = {k: list(v) for k, v in (categories_of(panel) if categories is None else categories).items()}
    dates = panel.dates.to_numpy().astype("datetime64[ns]")
    blocks: _Blocks | None = None
    for at in positions:
        if blocks is None or not blocks.start <= at <= blocks.last:
            blocks = None  # it goes before the next takes memory
            span = positions if past else [each for each in positions if at <= each < at + SPAN_DATES]
            blocks = _Blocks(panel, min(span), max(span), steps, codes, past, pairs)
        mask = _kept(panel, at, steps, observed_only)
        block = blocks.features(at, mask.shape[1])
        series, ahead = np.nonzero(mask)
        day = at + 1 + ahead
        yield FeatureTable(
            names=blocks.names,
            values=block.reshape(-1, block.shape[2]) if mask.all() else block[mask],
            ids=panel.ids,
            series=series.astype(np.int32),
            cutoff=np.full(len(series), dates[at]),
            ds=dates[day],
            h=(ahead + 1).astype(np.int16),
            y=panel.y[series, day].astype(np.float32),
            categories=codes,
        )


def stacked(tables: Iterable[FeatureTable], at_most: int) -> FeatureTable:
    """The tables one below the other, `at_most` rows in all; memory holds one besides the result."""
    parts: list[FeatureTable] = []
    values = np.empty((0, 0), dtype=np.float32)
    row = 0
    for table in tables:
        if not parts:
            values = np.empty((at_most, len(table.names)), dtype=np.float32)
        values[row : row + len(table.y)] = table.values
        row += len(table.y)
        parts.append(replace(table, values=values[:0]))
    return replace(
        parts[0],
        values=values[:row],
        series=np.concatenate([part.series for part in parts]),
        cutoff=np.concatenate([part.cutoff for part in parts]),
        ds=np.concatenate([part.ds for part in parts]),
        h=np.concatenate([part.h for part in parts]),
        y=np.concatenate([part.y for part in parts]),
    )


def _watched(
    tables: Iterable[FeatureTable], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[FeatureTable]:
    for done, table in enumerate(tables, start=1):
        yield table
        if progress is not None:
            progress(done, total)


class _Blocks:
    """Builds the (n, horizon, k) features of one cutoff after the other, from position `start` to `last`."""

    def __init__(
        self,
        panel: Panel,
        start: int,
        last: int,
        horizon: int,
        categories: Mapping[str, Sequence[str]],
        past: Past | None,
        pairs: Sequence[Pair] | None,
    ) -> None:
        self.start, self.last = start, last
        until = min(last + horizon, len(panel.dates) - 1)
        self.past = Past(panel, pairs, start, until) if past is None else past
        days = slice(start, until + 1)
        asked = replace(
            panel, dates=panel.dates[days], y=panel.y[:, days], known={}, past={}, cutoff=panel.dates[start]
        )
        self.calendar = calendar_features(asked)
        self.holidays = holiday_features(asked)
        self.codes = {name: static_codes(panel, name, values) for name, values in categories.items()}
        self.names: list[str] = []

    def features(self, at: int, horizon: int) -> NDArray[np.float32]:
        first = at + 1 - self.start
        days = slice(first, first + horizon)
        columns: dict[str, NDArray[np.number]] = {"ahead": np.arange(1.0, horizon + 1)}
        columns |= {name: x[days] for name, x in self.calendar.items()}
        columns |= {name: x[:, days] for name, x in self.holidays.items()}
        columns |= {f"code_{name}": x[:, None] for name, x in self.codes.items()}
        columns |= self.past.columns(at, horizon)
        self.names = list(columns)
        block = np.empty((self.past.panel.n_series, horizon, len(columns)), dtype=np.float32)
        for i, x in enumerate(columns.values()):
            block[:, :, i] = np.round(x, DIGITS) + 0.0  # no -0.0
        return block


def _positions(panel: Panel, cutoffs: pd.DatetimeIndex) -> list[int]:
    positions = panel.dates.get_indexer(cutoffs)
    wrong = (positions < 0) | (positions >= panel.n_history)
    if len(cutoffs) == 0 or wrong.any():
        raise DataError(
            "features cannot be built at these cutoffs",
            expected=f"dates in {panel.dates[0].date()}..{panel.cutoff.date()} at frequency {panel.freq}",
            found=str(cutoffs[wrong][0].date()) if len(cutoffs) else "no cutoff",
        )
    return [int(p) for p in positions]


def _kept(panel: Panel, at: int, horizon: int, observed_only: bool) -> NDArray[np.bool_]:
    """(n, horizon or fewer) which rows of a cutoff are wanted."""
    days = panel.y[:, at + 1 : at + 1 + horizon]
    return ~np.isnan(days) if observed_only else np.ones(days.shape, dtype=bool)


def static_codes(panel: Panel, name: str, values: Sequence[str]) -> Floats:
    """(n,) codes of a static column, NaN for values that are not in the list."""
    if name not in panel.static.columns:
        raise DataError(
            f"the panel has no static column {name!r}",
            expected=f"static columns {sorted(map(str, panel.static.columns))} to include it",
            cure="use the data set that the model was fitted on",
        )
    codes = pd.Index(values).get_indexer(pd.Index(panel.static[name]))
    return np.where(codes < 0, np.nan, codes.astype(np.float64))
