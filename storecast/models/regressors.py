"""What a local model knows of each day besides the series itself: seasons, paydays, events, promotion.

Columns that are the same for every series are built once; only promotion and local events are per series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from storecast.calendar import DAYS_PER_YEAR, event_days, event_positions, fourier, payday_distance
from storecast.models.gaps import taken
from storecast.panel import Floats, Panel

GROUPS = {
    "holiday": ("holiday",),
    "around": ("additional", "bridge"),
    "event": ("event",),
    "workday": ("workday",),
}
"""Events that share one effect, whatever their name."""

LOCAL = "local"
"""The column of local events; those of the covariates follow it."""

DAYS_PER_MONTH = DAYS_PER_YEAR / 12


@dataclass(frozen=True, eq=False)
class Regressors:
    """Regressors of every series on the panel's dates.

    Attributes:
        names: (K,) column names, the common ones first. "event:..." is a recurring event's own effect.
        common: (T, Kc) columns that hold for all series.
        own: (n, T, K - Kc) columns of each series.
    """

    names: tuple[str, ...]
    common: Floats
    own: Floats

    @cached_property
    def covariates(self) -> NDArray[np.bool_]:
        """(K,) which columns tell a known-future covariate."""
        return np.arange(len(self.names)) > self.names.index(LOCAL)

    @cached_property
    def weekly(self) -> NDArray[np.bool_]:
        """(K,) which columns tell the season of the week."""
        return self._labelled("week")

    @cached_property
    def recurring(self) -> NDArray[np.bool_]:
        """(K,) which columns tell the own effect of an event that comes back."""
        return self._labelled("event")

    @cached_property
    def yearly(self) -> tuple[NDArray[np.bool_], ...]:
        """(K,) which columns tell the season of the year, for each of its waves: a sine and a cosine."""
        columns = np.flatnonzero(self._labelled("year"))
        order = len(columns) // 2  # the sines come first
        return tuple(np.isin(np.arange(len(self.names)), columns[wave::order]) for wave in range(order))

    def _labelled(self, label: str) -> NDArray[np.bool_]:
        """(K,) which of the common columns have a label; a covariate may have any name."""
        common = self.common.shape[1]
        return np.array([k < common and name.startswith(f"{label}:") for k, name in enumerate(self.names)])

    def taken_from(self, source: NDArray[np.int64], covariates: Mapping[str, NDArray[np.bool_]]) -> Self:
        """The same, some covariates of some series taken from other dates.

        Args:
            source: (n, t) the date that stands for each of the first t; -1: 0 stands for it.
            covariates: (n,) of which series, by the covariate's name.
        """
        own, dates = self.own.copy(), source.shape[1]
        for k, name in enumerate(self.names[self.common.shape[1] :]):
            series = np.flatnonzero(covariates.get(name.rpartition(":")[0], np.zeros(0, dtype=bool)))
            own[series, :dates, k] = taken(self.own[series, :dates, k], source[series])
        return replace(self, own=own)

    def of(self, i: int) -> Floats:
        """(T, K) regressors of the series at position `i`."""
        return np.column_stack([self.common, self.own[i]])


def recurring_events(panel: Panel) -> tuple[str, ...]:
    """Names of the events for all series that come back: those in the table in at least two years.

    An event that happened once (an earthquake) has no use for the future and gets no effect of its own.
    """
    table = panel.events[(panel.events["column"] == "") & (panel.events["kind"] != "workday")]
    years = table["ds"].dt.year.groupby(table["event"]).nunique()
    return tuple(sorted(str(name) for name in years.index[years >= 2]))


def build_regressors(panel: Panel, events: Sequence[str], week_order: int, year_order: int) -> Regressors:
    """Regressors of a panel.

    Args:
        panel: history and known future; daily panels get weekly terms and paydays, weekly ones do not.
        events: names of the events with an effect of their own (see `recurring_events`), as at the fit.
        week_order: Fourier order of the week, 0 for none.
        year_order: Fourier order of the year, 0 for none.
    """
    common = {**_seasons(panel, week_order, year_order), **_common_events(panel, events)}
    own = {LOCAL: event_days(panel, local=True)}
    for name, values in sorted(panel.known.items()):
        own[f"{name}:log"] = np.log1p(np.maximum(values, 0.0))
        own[f"{name}:any"] = (values > 0).astype(np.float64)
    return Regressors(
        names=(*common, *own),
        common=np.column_stack(list(common.values())),
        own=np.stack(list(own.values()), axis=-1),
    )


def _seasons(panel: Panel, week_order: int, year_order: int) -> dict[str, Floats]:
    daily = panel.frequency.daily
    columns: dict[str, Floats] = {}
    blocks = [
        ("week", 7.0, week_order * daily),
        ("year", DAYS_PER_YEAR, min(year_order, (panel.frequency.year - 1) // 2)),
        ("month", DAYS_PER_MONTH, 2 * daily),
    ]
    for label, period, order in blocks:
        terms = fourier(panel.dates, period, order)
        columns |= {f"{label}:{k}": terms[:, k] for k in range(terms.shape[1])}
    if daily:
        since, until = payday_distance(panel.dates)
        columns |= {"payday:since": np.exp(-since / 2), "payday:until": np.exp(-until / 2)}
    return columns


def _common_events(panel: Panel, names: Sequence[str]) -> dict[str, Floats]:
    columns: dict[str, Floats] = {}
    for_all = panel.select(slice(0, 1))
    for group, kinds in GROUPS.items():
        columns[f"group:{group}"] = event_days(for_all, kinds, local=False)[0]
    table = panel.events[panel.events["column"] == ""]
    position = event_positions(panel, table["ds"].array)
    for name in names:
        column = np.zeros(len(panel.dates))
        days = position[(table["event"] == name).to_numpy()]
        column[days[days >= 0]] = 1.0
        columns[f"event:{name}"] = column
    return columns
