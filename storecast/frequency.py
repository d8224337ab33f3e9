"""What a panel's frequency means: how its dates follow each other, and which seasons they can show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

Freq = Literal["D", "W", "W-MON", "W-TUE", "W-WED", "W-THU", "W-FRI", "W-SAT", "W-SUN", "MS", "ME"]
"""What a config may say: days; weeks by the weekday that dates fall on; months by their first or last day."""


@dataclass(frozen=True)
class Frequency:
    """How the dates of a panel follow each other.

    Attributes:
        unit: what a date stands for: "day", "week" or "month".
        days: whole days from one date to the next, of months about.
        week: dates in the shortest cycle, a week of days; 1 where a date is a week or more.
        season: dates in the season that the naive forecast repeats: a week of days, else a year.
        year: dates in a year, of days and weeks in 52 whole weeks.
        recent: dates that say what is usual now.
        oldest: days that the last actuals are old just before the next are due; a month that is dated by its
            first day is over at the next one's.
    """

    unit: Literal["day", "week", "month"]
    days: int
    week: int
    season: int
    year: int
    recent: int
    oldest: int

    @property
    def daily(self) -> bool:
        """Whether a date is a day: it has a weekday, may be a payday, and a shop may be closed on it."""
        return self.unit == "day"

    @property
    def stretch(self) -> float:
        """How many times as long a window of days must be as in daily and weekly panels.

        A window of so many days that holds dates enough of a weekly panel holds a quarter of them in months.
        """
        return max(1.0, self.days / _WEEK)

    def fewer(self, dates: int) -> int:
        """A number of dates that is enough in daily and weekly panels, for this one: months are few."""
        return dates if self.days <= _WEEK else max(1, round(dates * _MONTHS_ENOUGH))

    def dates(self, days: int) -> int:
        """How many dates there are in so many days, at least one."""
        return max(1, days // self.days)


_WEEK = 7
_MONTHS_ENOUGH = 0.4
_DAYS = Frequency("day", days=1, week=_WEEK, season=_WEEK, year=364, recent=56, oldest=0)
_WEEKS = Frequency("week", days=_WEEK, week=1, season=52, year=52, recent=26, oldest=6)
_MONTH_ENDS = Frequency("month", days=30, week=1, season=12, year=12, recent=12, oldest=30)
_MONTH_STARTS = replace(_MONTH_ENDS, oldest=61)
_OTHERS = {"D": _DAYS, "MS": _MONTH_STARTS, "ME": _MONTH_ENDS}


def frequency(name: str) -> Frequency:
    """The frequency of that pandas name: "D", "W-SUN", "MS", ...

    Raises:
        KeyError: it is none of `Freq`.
    """
    if name not in get_args(Freq):
        raise KeyError(name)
    return _OTHERS.get(name, _WEEKS)
