"""What a replay works with: where fits and forecasts come from, the loop's models, what was served, costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from storecast.panel import Floats, Panel


class Parts(Protocol):
    """Where fits and forecasts come from."""

    @property
    def panel(self) -> Panel:
        """The whole panel."""
        ...

    def seconds(self, day: pd.Timestamp) -> float:
        """How long the fit at a day takes."""
        ...

    def forecast(self, fitted: pd.Timestamp, at: pd.Timestamp) -> Floats:
        """(n, H) the forecast at day `at` of the model fitted at day `fitted`."""
        ...

    def naive(self, at: pd.Timestamp) -> Floats:
        """(n, H) the seasonal naive's forecast at day `at`."""
        ...


@dataclass
class Models:
    """The days at which the loop's models were fitted.

    `since` is the day on which `current` was promoted; `previous` the model before it while `current` is on
    trial; `challenger` the model in shadow.
    """

    current: pd.Timestamp
    since: pd.Timestamp
    previous: pd.Timestamp | None = None
    challenger: pd.Timestamp | None = None


class Costs:
    """Fits and their seconds, each asked for once."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.known: dict[pd.Timestamp, float] = {}

    def of(self, fits: list[pd.Timestamp]) -> tuple[int, float]:
        for day in fits:
            if day not in self.known:
                self.known[day] = self.parts.seconds(day)
        return len(fits), sum(self.known[day] for day in fits)


@dataclass
class Served:
    """Squared errors of what each strategy forecast, and the model it came from."""

    fitted: dict[str, pd.Timestamp]
    errors: dict[str, Floats]
    rows: Floats
