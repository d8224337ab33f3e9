"""Two models beside each other on what has happened since: a challenger before it is promoted, and a
release before it may stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from storecast.loop.policy import Policy
from storecast.metrics import squared_log_error
from storecast.panel import Floats


@dataclass(frozen=True)
class Duel:
    """How two models forecast the same dates from the same cutoff.

    Attributes:
        days: days of actuals since the cutoff.
        rows: series and dates that were compared.
        newer: pooled RMSLE of the newer model: the challenger, or the release on trial.
        older: that of the model before it.
        over: whether all dates that the newer one forecasts have passed: there will be no more days.
    """

    days: int
    rows: int
    newer: float
    older: float
    over: bool = False

    @classmethod
    def of(cls, actual: Floats, newer: Floats, older: Floats, step: int, *, over: bool = False) -> Duel:
        """Compare forecasts.

        Args:
            actual: (n, dates) what happened; NaN where it is not known.
            newer: (n, dates) the newer model's forecast.
            older: (n, dates) the older model's.
            step: days from a date to the next.
            over: whether these are all dates that the newer one forecasts.
        """
        known = np.isfinite(actual) & np.isfinite(newer) & np.isfinite(older)
        days = step * int(np.isfinite(actual).any(axis=0).sum())
        rows = int(known.sum())
        if not rows:
            return cls(days, 0, float("nan"), float("nan"), over)
        one, other = (
            float(np.sqrt(squared_log_error(actual[known], x[known]).mean())) for x in (newer, older)
        )
        return cls(days, rows, one, other, over)

    @property
    def change(self) -> float:
        """The newer model's RMSLE relative to the older one's: 0.05 is 5 % worse."""
        if self.older > 0:
            return self.newer / self.older - 1
        return 0.0 if self.newer == self.older else float("inf")

    def says(self, newer: str, older: str) -> str:
        """One sentence with the numbers."""
        change = f", {self.change:+.1%}" if self.rows and np.isfinite(self.change) else ""
        return (
            f"On {self.days} days since, RMSLE {self.newer:.4f} of {newer} "
            f"against {self.older:.4f} of {older}{change} ({self.rows:,} rows)."
        )


def judge_shadow(policy: Policy, duel: Duel) -> str:
    """What becomes of a challenger in shadow: "shadow" (goes on), "promote" or "reject".

    It is judged after the policy's days, or when all that it forecasts has passed; one that could not be
    compared on any row is rejected.
    """
    if not duel.over and (duel.days < policy.shadow_days or not duel.rows):
        return "shadow"
    return "promote" if duel.newer <= duel.older else "reject"


def judge_release(policy: Policy, duel: Duel) -> str:
    """What becomes of a release on trial: "" (too early), "keep" or "rollback"."""
    rule = policy.rollback
    if rule is None or not duel.rows or (duel.days < rule.days and not duel.over):
        return ""
    return "rollback" if duel.change > rule.margin else "keep"
