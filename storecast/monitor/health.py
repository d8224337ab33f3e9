"""The outcome of one day's monitoring: named checks, each with its value beside its limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd

from storecast.errors import DataError

CHECKS = ("error", "bias", "coverage", "input_drift", "error_drift", "freshness", "volume", "scale")
"""Names of checks.

- error: rolling RMSLE over the seasonal naive's, or over what the release's backtest promised.
- bias: (Σ forecast − Σ actual) / Σ actual.
- coverage: share of actuals inside the 80 % interval.
- input_drift: a known-future covariate, the level or the share of zeros is not what its season was.
- error_drift: errors are not what they were when the release was new.
- freshness: days since the last actuals.
- volume: dates or series that are missing, and feeds of zeros, constants or a repeated day.
- scale: everything is a constant factor higher or lower.
"""

State = Literal["healthy", "breached", "unjudged"]
DECISIVE = "error"
"""The check that says how good the forecast is: while it has no figure, nothing is healthy."""

ALL = "all"
"""Segment of a check over all rows; the others are written `column=value`, such as `volume=high`."""

FILE = "health.json"


@dataclass(frozen=True)
class Check:
    """One figure beside its limit.

    Attributes:
        name: one of `CHECKS`.
        segment: `ALL`, or `column=value`.
        value: the figure; None where it cannot be told, and the note says why and what is needed.
        limit: what it must not pass, in the figure's own unit.
        breached: whether it does.
        window_days: days of actuals that it is taken over.
        note: one sentence for people, with the numbers.
    """

    name: str
    segment: str
    value: float | None
    limit: float
    breached: bool
    window_days: int
    note: str

    def __post_init__(self) -> None:
        if self.name not in CHECKS:
            raise DataError("there is no such check", expected=", ".join(CHECKS), found=self.name)


@dataclass(frozen=True)
class Health:
    """All checks of one data set as of one date.

    Attributes:
        dataset: name of the data set.
        release: id of the release that was served last; "" where none was.
        as_of: date (YYYY-MM-DD) up to which everything is seen, the day of the monitoring.
        checks: every check, breached or not, in the order of `CHECKS`.
        counts: what they are made from, such as rows served and rows with actuals.
    """

    dataset: str
    release: str
    as_of: str
    checks: tuple[Check, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def breaches(self) -> tuple[Check, ...]:
        """The breached checks."""
        return tuple(check for check in self.checks if check.breached)

    @property
    def unjudged(self) -> tuple[Check, ...]:
        """Of each check that has no figure yet, in no segment, the first that says why and what is needed."""
        told = {check.name for check in self.checks if check.value is not None}
        found: dict[str, Check] = {}
        for check in self.checks:
            if check.name not in told:
                found.setdefault(check.name, check)
        return tuple(found.values())

    @property
    def state(self) -> State:
        """What all checks together say.

        - breached: at least one is.
        - unjudged: none is, but the error of what was served is not known: nobody can say that all is well.
        - healthy: none is, and the error is known.
        """
        if self.breaches:
            return "breached"
        return "healthy" if self.judged else "unjudged"

    @property
    def judged(self) -> bool:
        """Whether the error of what was served is known."""
        return any(check.name == DECISIVE and check.value is not None for check in self.checks)

    @property
    def healthy(self) -> bool:
        """Whether no check is breached and the error of what was served is known."""
        return self.state == "healthy"

    def to_frame(self) -> pd.DataFrame:
        """One row per check."""
        columns = list(Check.__dataclass_fields__)
        return pd.DataFrame([asdict(check) for check in self.checks], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {**vars(self), "checks": [asdict(check) for check in self.checks], "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave.

        Raises:
            DataError: it is of another form.
        """
        try:
            return cls(**{**data, "checks": tuple(Check(**check) for check in data["checks"])})
        except (KeyError, TypeError) as error:
            raise DataError(
                "this is not a health record",
                expected=f"the keys {', '.join(cls.__dataclass_fields__)}",
                found=str(error),
                cure="run the monitor stage again",
            ) from error


def write_health(health: Health, folder: Path) -> None:
    """Write health.json into a folder."""
    text = json.dumps(health.to_dict(), indent=1, sort_keys=True, allow_nan=False)
    (folder / FILE).write_text(text + "\n")


def read_health(folder: Path) -> Health:
    """Read the health.json of a monitor stage's output.

    Raises:
        DataError: it is of another form.
    """
    return Health.from_dict(json.loads((folder / FILE).read_text()))
