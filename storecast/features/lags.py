"""What the dates just before a date say of it: for models that forecast one date ahead and go on from there.

The feature table (`storecast.features.table`) tells of a date up to a horizon after the cutoff; these
features tell of the date right after it, so the last dates' sales are in them one by one. Sales are told as
differences to `base`, the level of the last weeks, so that a series that grows beyond what was ever seen can
be followed. Left out is what drifts when forecasts are fed back: what has passed of the year, and how much
sales vary, since forecasts vary less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from storecast.features.known import calendar_features, holiday_features, signed_log
from storecast.features.table import static_codes
from storecast.frequency import Frequency
from storecast.panel import Floats, Panel

DAILY_LAGS = (*range(1, 22), *range(28, 64, 7))
WEEKLY_LAGS = (*range(1, 10), 13, 26, 52)
MONTHLY_LAGS = (*range(1, 14), 24)
MEAN_WEEKS = (1, 2, 4, 8)
SAME_WEEKDAY = (1, 2, 4, 8, 16)
BASE = "base"
BASE_WEEKS = 4
OF_THE_YEAR = ("month", "day_of_year", "year_sin", "year_cos")

Block = NDArray[np.float32]
_LAGS = {"day": DAILY_LAGS, "week": WEEKLY_LAGS, "month": MONTHLY_LAGS}


class Lags:
    """Features of one date after the other, from the sales of the dates before it, as log(1+y).

    `names` are those of the features, once some were made; `BASE` is among them.

    Args:
        panel: the history, and the known future.
        categories: static values by code, as fitted; unknown values become NaN.
    """

    def __init__(self, panel: Panel, categories: Mapping[str, Sequence[str]]) -> None:
        self.week = panel.frequency.week
        self._lags = _LAGS[panel.frequency.unit]
        self.reach = reach(panel.frequency)
        end = panel.n_history
        self._logs = self._padded(np.full(panel.y.shape, np.nan))
        self._logs[:, self.reach : self.reach + end] = np.log1p(np.maximum(panel.history, 0.0))
        self._known = {name: self._padded(signed_log(x)) for name, x in panel.known.items()}
        self._calendar = {n: x for n, x in calendar_features(panel).items() if n not in OF_THE_YEAR}
        self._events = panel.events
        self._holidays = holiday_features(panel)
        self._codes = {name: static_codes(panel, name, values) for name, values in categories.items()}
        self.names: list[str] = []

    def asked(self, panel: Panel, rows: NDArray[np.int64]) -> Lags:
        """Those of some series (positions) of a panel with the same history and another known future."""
        some = copy(self)
        some._logs = self._logs[rows]
        some._known = {name: self._padded(signed_log(x[rows])) for name, x in panel.known.items()}
        same = panel.events is self._events
        some._holidays = (
            {name: x[rows] for name, x in self._holidays.items()}
            if same
            else holiday_features(panel.select(rows))
        )
        some._codes = {name: x[rows] for name, x in self._codes.items()}
        return some

    def put(self, at: int, logs: Floats) -> None:
        """Take forecasts (n,) of log(1+y) for what was sold on the date at position `at`."""
        self._logs[:, self.reach + at] = logs

    def features(self, positions: NDArray[np.int64]) -> Block:
        """(n, len(positions), k) of the dates at these positions of the panel's axis."""
        back = self.reach + positions[:, None] - np.arange(1, self.reach + 1)
        sold = _Back(self._logs[:, back])
        same = sold.every(self.week)
        base = np.nan_to_num((same.mean(BASE_WEEKS) + sold.mean(BASE_WEEKS * self.week)) / 2)
        columns: dict[str, NDArray[np.number]] = {BASE: base}
        columns |= {f"lag_{lag}": sold.values[:, :, lag - 1] - base for lag in self._lags}
        columns |= {f"mean_{w}w": sold.mean(w * self.week) - base for w in MEAN_WEEKS}
        columns |= {f"weekday_mean_{n}": same.mean(n) - base for n in SAME_WEEKDAY}
        for name, x in self._known.items():
            past = _Back(x[:, back])
            columns[f"{name}_on_day"] = x[:, self.reach + positions]
            columns |= {f"{name}_lag_{lag}": past.values[:, :, lag - 1] for lag in _few_lags(self.week)}
            columns |= {f"{name}_mean_{w}w": past.mean(w * self.week) for w in (1, 2, 4, 13)}
            columns[f"{name}_weekday_mean"] = past.every(self.week).mean(4)
        columns |= {name: x[positions] for name, x in self._calendar.items()}
        columns |= {name: x[:, positions] for name, x in self._holidays.items()}
        columns |= {f"code_{name}": x[:, None] for name, x in self._codes.items()}
        self.names = list(columns)
        out = np.empty((len(self._logs), len(positions), len(columns)), dtype=np.float32)
        for i, values in enumerate(columns.values()):
            out[:, :, i] = values
        return out

    def _padded(self, values: Floats) -> Block:
        """(n, reach + T): nothing is known of the dates before the axis."""
        return np.pad(values, ((0, 0), (self.reach, 0)), constant_values=np.nan).astype(np.float32)


def reach(frequency: Frequency) -> int:
    """How many dates before a date its features tell of."""
    longest: int = max(_LAGS[frequency.unit])
    return max(longest, frequency.week * max(SAME_WEEKDAY))


def _few_lags(week: int) -> Sequence[int]:
    """The dates back whose covariates are features one by one."""
    return (1, 2, 3, 7, 14) if week > 1 else (1, 2, 3, 4)


class _Back:
    """Values (n, P, R) of the dates 1, 2, ... R back; NaN where there are none."""

    def __init__(self, values: Block) -> None:
        self.values = values
        seen = ~np.isnan(values)
        self._count = np.cumsum(seen, axis=2, dtype=np.int32)
        self._total = np.cumsum(np.where(seen, values, 0.0), axis=2, dtype=np.float32)

    def mean(self, n: int) -> NDArray[np.floating]:
        """(n, P) over the `n` dates just before; NaN where none of them is known."""
        last = min(n, self.values.shape[2]) - 1
        count = self._count[:, :, last]
        return np.where(count > 0, self._total[:, :, last] / np.maximum(count, 1), np.nan)

    def every(self, step: int) -> _Back:
        """The values `step`, 2·`step`, ... dates back: with 7, those of the same weekday."""
        return _Back(self.values[:, :, step - 1 :: step])
