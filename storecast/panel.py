"""The panel: every series of a data set on one common time axis, with its covariates.

A panel is held wide: arrays of shape (n_series, n_dates), so that a cutoff is one mask and a rolling
mean one cumulative sum. `Panel.to_frame` and `Panel.from_frame` give the long form
(`unique_id, ds, y, ...`) that files and people use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.frequency import Frequency, frequency

Floats = NDArray[np.float64]
EVENT_COLUMNS = ("ds", "event", "kind", "column", "value")


def no_events() -> pd.DataFrame:
    """An empty holiday table with the columns every holiday table has."""
    return pd.DataFrame(
        {
            "ds": pd.Series(dtype="datetime64[ns]"),
            **{name: pd.Series(dtype=object) for name in EVENT_COLUMNS[1:]},
        }
    )


def tell_ahead(values: Floats, absent: NDArray[np.bool_], history: int, season: int, rule: str) -> None:
    """Fill in what is absent of a covariate (n, T) after its first `history` dates by what came before.

    Args:
        values: changed in place.
        absent: (n, T) what is filled in.
        history: dates that are known.
        season: dates of a season.
        rule: "zero", "last" (the last known date's value) or "last_season"; what lies before the axis is 0.
    """
    for t in range(history, values.shape[1]):
        source = {"last": history - 1, "last_season": t - season}.get(rule, -1)
        told = values[:, source] if source >= 0 else 0.0
        values[:, t] = np.where(absent[:, t], told, values[:, t])


@dataclass(frozen=True, eq=False)
class Panel:
    """All series of a data set up to a cutoff, and the known future after it.

    Attributes:
        ids: (n,) unique_id of each series, sorted and unique.
        dates: (T,) the common axis: history up to and including `cutoff`, then `horizon` future dates.
        y: (n, T) target; NaN where it was not observed and everywhere after the cutoff.
        known: known-future covariates by name, each (n, T) without NaN.
        past: past-only covariates by name, each (n, T); NaN after the cutoff.
        static: n rows indexed by unique_id, one string column per static covariate (keys included).
        events: holidays, columns `ds, event, kind, column, value`: the event counts for series whose
            static `column` equals `value`, and for all series where `column` is "".
        freq: pandas frequency of the axis: "D", a weekly one such as "W-SUN", or "MS" or "ME" of months.
        cutoff: the last date whose target may be seen.
        unplanned: known-future covariates that nobody plans, and how their future is told from history:
            "zero", "last" (the cutoff's value) or "last_season".
    """

    ids: NDArray[np.object_]
    dates: pd.DatetimeIndex
    y: Floats
    static: pd.DataFrame
    freq: str
    cutoff: pd.Timestamp
    known: Mapping[str, Floats] = field(default_factory=dict)
    past: Mapping[str, Floats] = field(default_factory=dict)
    events: pd.DataFrame = field(default_factory=no_events)
    unplanned: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.dates))
        for name, array in [("y", self.y), *self.known.items(), *self.past.items()]:
            if array.shape != shape:
                raise DataError(
                    f"array {name!r} does not fit the panel's axes",
                    expected=f"shape {shape}",
                    found=f"shape {array.shape}",
                )
        if self.cutoff not in self.dates:
            raise DataError(
                "the cutoff is not a date of the panel",
                expected=f"one of {self.dates[0].date()}..{self.dates[-1].date()} at frequency {self.freq}",
                found=str(self.cutoff.date()),
                cure="choose a cutoff inside the history",
            )

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    @cached_property
    def n_history(self) -> int:
        """Number of dates up to and including the cutoff."""
        return int(self.dates.searchsorted(self.cutoff, side="right"))

    @property
    def horizon(self) -> int:
        """Number of dates after the cutoff."""
        return len(self.dates) - self.n_history

    @property
    def frequency(self) -> Frequency:
        """How its dates follow each other."""
        return frequency(self.freq)

    @property
    def offset(self) -> pd.offsets.BaseOffset:
        """From one date to the next."""
        return pd.tseries.frequencies.to_offset(self.freq)

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> int:
        """How many of its dates come after `first`, up to `last`; negative the other way round."""
        before, end = self.dates.searchsorted(pd.DatetimeIndex([first, last]), side="right").tolist()
        return int(end - before)

    @property
    def history(self) -> Floats:
        """(n, n_history) the target up to the cutoff."""
        return self.y[:, : self.n_history]

    @property
    def future_dates(self) -> pd.DatetimeIndex:
        """(horizon,) the dates to forecast."""
        return self.dates[self.n_history :]

    @property
    def first_sale(self) -> NDArray[np.int64]:
        """(n,) position of each series' first positive sale up to the cutoff; n_history where it has none.

        Zeros before it usually mean "not on sale yet", so local models start there.
        """
        sold = self.history > 0
        first = np.where(sold.any(axis=1), sold.argmax(axis=1), self.n_history)
        return first.astype(np.int64)

    def at(self, cutoff: pd.Timestamp | str, horizon: int | None = None) -> Panel:
        """The panel as it was known at an earlier cutoff: later targets and past-only values are gone.

        Known-future covariates of the `horizon` dates after it stay (fewer where the panel ends), but for
        those that nobody plans: these are told from what came before, as they are at the panel's cutoff.
        """
        when = pd.Timestamp(cutoff)
        if when not in self.dates or when > self.cutoff:
            raise DataError(
                "that cutoff is not in the panel's history",
                expected=f"a date in {self.dates[0].date()}..{self.cutoff.date()} at frequency {self.freq}",
                found=str(when.date()),
            )
        history = int(self.dates.searchsorted(when, side="right"))
        end = history + (self.horizon if horizon is None else horizon)

        def masked(array: Floats) -> Floats:
            cut = array[:, :end]
            if cut.shape[1] > history:
                cut = cut.copy()
                cut[:, history:] = np.nan
            return cut

        return replace(
            self,
            dates=self.dates[:end],
            y=masked(self.y),
            known={k: self._foreseen(k, v[:, :end], history) for k, v in self.known.items()},
            past={k: masked(v) for k, v in self.past.items()},
            cutoff=when,
        )

    def _foreseen(self, name: str, values: Floats, history: int) -> Floats:
        """(n, T) a known-future covariate as it could be told at position `history`."""
        rule = self.unplanned.get(name, "")
        if not rule or history == self.n_history:
            return values
        out = values.copy()
        tell_ahead(out, np.ones(out.shape, dtype=bool), history, self.frequency.season, rule)
        return out

    def actuals(self, cutoff: pd.Timestamp | str, horizon: int) -> Floats:
        """(n, horizon) the targets after `cutoff`, NaN where the panel does not know them."""
        start = int(self.dates.searchsorted(pd.Timestamp(cutoff), side="right"))
        out = np.full((self.n_series, horizon), np.nan)
        part = self.y[:, start : start + horizon]
        out[:, : part.shape[1]] = part
        return out

    def select(self, rows: slice | NDArray[np.int64]) -> Panel:
        """The same panel with only the given series (positions)."""
        return replace(
            self,
            ids=self.ids[rows],
            y=self.y[rows],
            known={k: v[rows] for k, v in self.known.items()},
            past={k: v[rows] for k, v in self.past.items()},
            static=self.static.iloc[rows],
        )

    def last(self, n_dates: int) -> Panel:
        """The same panel with at most the last `n_dates` dates of history."""
        start = max(0, self.n_history - n_dates)
        return replace(
            self,
            dates=self.dates[start:],
            y=self.y[:, start:],
            known={k: v[:, start:] for k, v in self.known.items()},
            past={k: v[:, start:] for k, v in self.past.items()},
        )

    def with_known(self, name: str, values: Floats) -> Panel:
        """The same panel with another known-future covariate: the what-if question."""
        if name not in self.known:
            raise DataError(
                f"{name!r} is not a known-future covariate of this panel",
                expected=f"one of {sorted(self.known)}",
            )
        return replace(self, known={**self.known, name: values})

    def to_frame(self) -> pd.DataFrame:
        """Long form: `unique_id, ds, y`, then the known-future and past-only covariates, by id and date."""
        n, t = self.y.shape
        columns: dict[str, Any] = {
            "unique_id": np.repeat(self.ids, t),
            "ds": np.tile(self.dates.to_numpy(), n),
            "y": self.y.ravel(),
        }
        columns.update({k: v.ravel() for k, v in {**self.known, **self.past}.items()})
        return pd.DataFrame(columns)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        static: pd.DataFrame,
        freq: str,
        cutoff: pd.Timestamp | str,
        known: Sequence[str] = (),
        past: Sequence[str] = (),
        events: pd.DataFrame | None = None,
    ) -> Panel:
        """Build a panel from its long form (`unique_id, ds, y`, covariates).

        Missing (unique_id, ds) rows become NaN in `y` and in past-only columns, and 0 in known-future ones.

        Raises:
            DataError: a (unique_id, ds) pair occurs twice, or a date is off the frequency's grid.
        """
        ids = np.array(sorted(frame["unique_id"].astype(str).unique()), dtype=object)
        ds = pd.DatetimeIndex(frame["ds"])
        dates = pd.date_range(ds.min(), ds.max(), freq=freq)
        rows = pd.Index(ids).get_indexer(frame["unique_id"].astype(str))
        cols = dates.get_indexer(ds)
        if (cols < 0).any():
            raise DataError(
                f"a date is not on the {freq} grid", found=str(ds[int((cols < 0).argmax())].date())
            )
        flat = rows * len(dates) + cols
        if len(np.unique(flat)) != len(flat):
            raise DataError(
                "a (unique_id, ds) pair occurs more than once", expected="one row per series and date"
            )

        def wide(column: str, default: float) -> Floats:
            out = np.full(len(ids) * len(dates), default)
            out[flat] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
            return out.reshape(len(ids), len(dates))

        return cls(
            ids=ids,
            dates=dates,
            y=wide("y", np.nan),
            known={name: np.nan_to_num(wide(name, 0.0)) for name in known},
            past={name: wide(name, np.nan) for name in past},
            static=static.loc[ids],
            events=no_events() if events is None else events,
            freq=freq,
            cutoff=pd.Timestamp(cutoff),
        )
