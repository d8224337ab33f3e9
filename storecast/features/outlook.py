"""The features of known-future covariates, and what they become when another future is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from storecast.features.peers import Peers
from storecast.features.sums import Kept, RunningMean, RunningSum
from storecast.panel import Floats, Panel

USUAL_WEEKS = 4
COURSE_WEEKS = USUAL_WEEKS + 1
"""How far before a cutoff a covariate's own course is looked at."""

OF_PEERS = ("trend_1w", "trend_8w", "weekday", "level", "year_ago", "zeros")
"""What else than covariates is pooled over the series that share a static value."""

Columns: TypeAlias = dict[str, Floats]
Ints: TypeAlias = NDArray[np.int64]


def pooled_name(group: str, covariate: str) -> str:
    """Name of a covariate's feature that is pooled over a group of peers: a covariate may have any name."""
    return f"{group}_known_{covariate}" if covariate in OF_PEERS else f"{group}_{covariate}"


class Course:
    """A known-future covariate over time, from position `first` on: arcsinh of it, and means of windows.

    Args:
        values: (n, T - first) the covariate from position `first` on.
        first: position of the first date that is asked about, a multiple of a week.
    """

    def __init__(self, values: Floats, first: int = 0) -> None:
        self._first = first
        self.x = np.arcsinh(values)
        every = np.ones((1, self.x.shape[1]), dtype=bool)
        self.mean = RunningMean(RunningSum(self.x, first=first), RunningSum(every, first=first))

    def at(self, positions: Ints) -> Floats:
        """(n, len(positions)) arcsinh of the covariate there."""
        values: Floats = self.x[:, positions - self._first]
        return values


@dataclass(frozen=True, eq=False)
class Experience:
    """What sales have done with a covariate by a cutoff. None of it depends on what is planned.

    Attributes:
        level_with: (n,) level of sales on the recent dates with it.
        level_without: (n,) the same without it.
        slopes: by window in weeks the mean of the covariate, (n, 1), and the slopes of log sales on it
            within series, (n, 1) each by what pools them: the series itself, and each group of its peers.
    """

    level_with: Floats
    level_without: Floats
    slopes: Mapping[int, tuple[Floats, Columns]]

    def of(self, rows: Ints) -> Experience:
        """That of some series (positions)."""
        slopes = {
            weeks: (mean[rows], {name: slope[rows] for name, slope in by_pool.items()})
            for weeks, (mean, by_pool) in self.slopes.items()
        }
        return Experience(self.level_with[rows], self.level_without[rows], slopes)

    def columns(self, name: str, course: Course, at: int, ahead: Ints, mid: Floats, week: int) -> Columns:
        """Features of the dates `at + ahead`; looks no further ahead than the last of them.

        The covariate on the day and around it, and what its effect lets expect: (x on the day - recent mean
        of x) · slope, what a promotion did lately, here and elsewhere.
        """
        day, end = at + ahead, at + int(ahead[-1])
        here = course.at(day)
        planned = np.where(here > 0, self.level_with[:, None], self.level_without[:, None])
        columns = {
            "on_day": here,
            "change_before": here - course.at(day - 1),
            "change_after": course.at(np.minimum(day + 1, end)) - here,
            "week_before": course.mean.over(day - 1, week),
            "week_ahead": course.mean.over(np.minimum(day + week, end), week),
            "usual": course.mean.over(at, USUAL_WEEKS * week)[:, None],
            "horizon": course.mean.over(end, len(ahead))[:, None],
            "level_with": (self.level_with - mid)[:, None],
            "level_without": (self.level_without - mid)[:, None],
            "level_as_planned": planned - mid[:, None],
        }
        for weeks, (mean, slopes) in self.slopes.items():
            columns |= {f"effect_{pool}_{weeks}w": slope * (here - mean) for pool, slope in slopes.items()}
        return {f"{name}_{key}": values for key, values in columns.items()}


class Outlook:
    """The known future of a panel at one cutoff: tells the features that another future changes.

    Args:
        panel: the panel as it is.
        at: position of the cutoff.
        ahead: (H,) dates ahead, from 1.
        week: dates in a week.
        mid: (n,) the recent level of each series.
        peers: of the panel's series.
        experience: by covariate.
    """

    def __init__(
        self,
        panel: Panel,
        at: int,
        ahead: Ints,
        week: int,
        mid: Floats,
        peers: Peers,
        experience: Mapping[str, Experience],
    ) -> None:
        self._first = Kept(week, at).first(COURSE_WEEKS)
        self._at, self._ahead, self._week, self._mid = at, ahead, week, mid
        self._known, self._groups, self._experience = panel.known, peers.groups, experience
        self._lifts = {name: self._lift(name, self._told(name, x)) for name, x in panel.known.items()}

    def changes(self, panel: Panel) -> Iterator[tuple[Ints, Columns]]:
        """The features that differ where a panel with the same past has another known future.

        Yields:
            Positions (m,) of series and their columns (m, H): of each covariate those of the series whose
            future is another, then those that are pooled over peers, of all series.
        """
        ahead = slice(self._at + 1, self._at + 1 + len(self._ahead))
        for name, x in panel.known.items():
            rows = np.flatnonzero((x[:, ahead] != self._known[name][:, ahead]).any(axis=1))
            if len(rows):
                columns = self._told(name, x, rows)
                lift = self._lifts[name].copy()
                lift[rows] = self._lift(name, columns)
                yield rows, columns
                yield (
                    np.arange(len(x)),
                    {pooled_name(group, name): peers.mean(lift) for group, peers in self._groups.items()},
                )

    def _told(self, name: str, x: Floats, rows: Ints | None = None) -> Columns:
        done, mid = self._experience[name], self._mid
        if rows is not None:
            done, mid, x = done.of(rows), mid[rows], x[rows]
        return done.columns(
            name, Course(x[:, self._first :], self._first), self._at, self._ahead, mid, self._week
        )

    @staticmethod
    def _lift(name: str, columns: Columns) -> Floats:
        """How much more of a covariate there is on each day than usual: what peers are pooled by."""
        return columns[f"{name}_on_day"] - columns[f"{name}_usual"]
