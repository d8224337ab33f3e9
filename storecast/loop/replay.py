"""The loop over a past period, day by day: what it would have done, and what that would have gained.

Three strategies forecast every day of the period from what was known on it: one keeps the model that was
fitted on the first day, one fits a new model every day, and one does what the policy says: trainings go
through the gate, and a release that turns out worse is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from storecast.gate import Decision as GateVerdict
from storecast.gate import GateConfig
from storecast.gate import decide as gate
from storecast.loop.decisions import Decision
from storecast.loop.judge import Duel, judge_release, judge_shadow
from storecast.loop.policy import Policy, decide
from storecast.loop.replay_parts import Costs, Models, Parts, Served
from storecast.loop.state import state_of
from storecast.metrics import squared_log_error
from storecast.monitor.health import ALL, Check, Health
from storecast.panel import Floats
from storecast.segments import VOLUME, volume_classes

NEVER, DAILY, LOOP, NAIVE = "never", "daily", "loop", "naive"
STRATEGIES = (NEVER, DAILY, LOOP, NAIVE)
WINDOW_DAYS = 14
TOLERANCE = 0.10
HOUR = 6
"""Actuals of a day are there at this hour (UTC) of the next."""


CHALLENGER, CHAMPION = "challenger", "champion"
_TOLD = ("nothing", "wait", "ask", "train")


@dataclass
class Replay:
    """One policy over one period.

    Attributes:
        parts: fits and forecasts.
        policy: the policy.
        rules: the gate's.
        days: the days of the period, in order; the models of all strategies are fitted on the first.
        dataset: name of the data set.
        log: the loop's decisions, the oldest first.
    """

    parts: Parts
    policy: Policy
    rules: GateConfig
    days: pd.DatetimeIndex
    dataset: str
    log: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.days[0]
        self.loop = Models(current=first, since=first)
        self.served: dict[pd.Timestamp, Served] = {}
        self.loop_fits: set[pd.Timestamp] = set()
        self.promised = self._promise(first)

    def run(self) -> Iterator[pd.Timestamp]:
        """Go through the period; gives each day when it is done."""
        for day in self.days:
            if day > self.days[0]:
                self._pass(day)
            self._serve(day)
            yield day

    def result(self) -> pd.DataFrame:
        """One row per finished day: what was decided, each strategy's errors and what it has cost.

        Returns:
            `day`, `action`, `rule`, `because`, `rows`; per strategy `rmsle_*` (pooled over the day's
            forecasts), `sse_*` (sum of squared log errors), and for all but the naive `fitted_*` (the day its
            model was fitted); `fits_*` and `seconds_*`: fits and their seconds, up to and with the day.
        """
        decided = {decision.as_of: decision for decision in self.log if decision.action in _TOLD}
        spent = Costs(self.parts)
        rows = []
        for day, served in self.served.items():
            made = decided.get(str(day.date()))
            row: dict[str, object] = {"day": day, "action": made.action if made else "nothing"}
            row |= {"rule": made.rule if made else "", "because": made.because if made else ""}
            count = float(served.rows.sum())
            row["rows"] = int(count)
            for name in STRATEGIES:
                total = float(served.errors[name].sum())
                row[f"sse_{name}"] = total
                row[f"rmsle_{name}"] = float(np.sqrt(total / count)) if count else float("nan")
                if name != NAIVE:
                    row[f"fitted_{name}"] = served.fitted[name]
            fits = self._fits_until(day)
            for name in (NEVER, DAILY, LOOP):
                row[f"fits_{name}"], row[f"seconds_{name}"] = spent.of(fits[name])
            rows.append(row)
        return pd.DataFrame(rows)

    def _fits_until(self, day: pd.Timestamp) -> dict[str, list[pd.Timestamp]]:
        """The fits of each strategy after the first day, which all begin with."""
        daily = [d for d in self.served if self.days[0] < d <= day]
        trained = [pd.Timestamp(d.as_of) for d in self.log if d.action == "train"]
        upto = [d for d in trained if d <= day]
        return {NEVER: [], DAILY: daily, LOOP: [fit for d in upto for fit in (self._fold(d), d)]}

    def _pass(self, day: pd.Timestamp) -> None:
        """What the loop does on a day, before it forecasts."""
        now = day.to_pydatetime().replace(tzinfo=UTC) + timedelta(days=1, hours=HOUR)
        health = self._health(day)
        self._judge(day, health, now)
        made = decide(self.policy, state_of(self.log, str(self.loop.current.date())), health, now)
        self.log.append(made)
        if made.action == "train":
            self._train(day, made, now)

    def _train(self, day: pd.Timestamp, decision: Decision, now: datetime) -> None:
        verdict = self._gate(day)
        minutes = sum(self.parts.seconds(d) for d in (self._fold(day), day)) / 60
        shadow = str(day.date()) if verdict.promoted and self.policy.shadow_days else ""
        outcome = {"promoted": verdict.promoted, "minutes": minutes, "shadow": shadow}
        because = " ".join(verdict.reasons)
        self.log.append(decision.next("trained", "gate", because, now, outcome))
        if shadow:
            self.loop.challenger = day
        elif verdict.promoted:
            self._promote(day, day)
            self.log.append(decision.next("promote", "gate", because, now, outcome))
        else:
            self.log.append(decision.next("reject", "gate", because, now, outcome))

    def _judge(self, day: pd.Timestamp, health: Health, now: datetime) -> None:
        """The challenger in shadow, and the release on trial."""
        models = self.loop
        if models.challenger is not None:
            duel = self._duel(models.challenger, models.current, models.challenger, day)
            action = judge_shadow(self.policy, duel)
            if action != "shadow":
                said = duel.says("the challenger", "the champion")
                self.log.append(Decision.of(health, action, "shadow", said, now, policy=self.policy.name))
                challenger, models.challenger = models.challenger, None
                if action == "promote":
                    self._promote(challenger, day)
        elif models.previous is not None:
            duel = self._duel(models.current, models.previous, models.since, day)
            action = judge_release(self.policy, duel)
            if action:
                said = duel.says("the release", "the release before")
                self.log.append(Decision.of(health, action, "rollback", said, now, policy=self.policy.name))
                if action == "rollback":
                    models.current = models.previous
                    self.promised = self._promise(models.current)
                models.previous = None

    def _promote(self, fitted: pd.Timestamp, day: pd.Timestamp) -> None:
        self.loop = Models(current=fitted, since=day, previous=self.loop.current)
        self.promised = self._promise(fitted)

    def _duel(self, newer: pd.Timestamp, older: pd.Timestamp, since: pd.Timestamp, day: pd.Timestamp) -> Duel:
        """Both models' forecasts of the days from `since` to `day`."""
        panel = self.parts.panel
        passed = panel.between(since, day)
        dates, over = min(passed, panel.horizon), passed >= panel.horizon
        one, other = (self.parts.forecast(model, since)[:, :dates] for model in (newer, older))
        return Duel.of(panel.actuals(since, dates), one, other, panel.frequency.days, over=over)

    def _gate(self, day: pd.Timestamp) -> GateVerdict:
        """The challenger fitted a horizon ago against the champion and the naive on the days since."""
        fold = self._fold(day)
        champion = self.loop.current
        if champion <= fold:
            found = {CHALLENGER: (fold, fold), CHAMPION: (champion, fold)}
        else:  # it has learnt from these days: the days that both backtests forecast, each at its own lead
            found = {CHALLENGER: (fold, fold), CHAMPION: (self._fold(champion), self._fold(champion))}
        tables = [self._rows(name, self.parts.forecast(*pair), pair[1]) for name, pair in found.items()]
        tables.append(self._rows(NAIVE, self.parts.naive(fold), fold))
        cv = pd.concat(tables, ignore_index=True).assign(cutoff=fold)
        models = cv.groupby(["unique_id", "ds"])["model"].transform("nunique")
        seen = self.parts.panel.at(fold, 0)
        cv = cv[models == len(tables)].assign(**{VOLUME: lambda x: x["unique_id"].map(volume_classes(seen))})
        return gate(cv, CHALLENGER, CHAMPION, NAIVE, self.rules)

    def _rows(self, model: str, forecast: Floats, at: pd.Timestamp) -> pd.DataFrame:
        panel = self.parts.panel
        horizon = forecast.shape[1]
        return pd.DataFrame(
            {
                "unique_id": np.repeat(panel.ids, horizon),
                "ds": np.tile(pd.date_range(at, periods=horizon + 1, freq=panel.freq)[1:], panel.n_series),
                "model": model,
                "y": panel.actuals(at, horizon).ravel(),
                "yhat": forecast.ravel(),
            }
        )

    def _serve(self, day: pd.Timestamp) -> None:
        fitted = {NEVER: self.days[0], DAILY: day, LOOP: self.loop.current}
        forecasts = {name: self.parts.forecast(model, day) for name, model in fitted.items()}
        forecasts[NAIVE] = self.parts.naive(day)
        actual = self.parts.panel.actuals(day, self.parts.panel.horizon)
        known = np.isfinite(actual)
        errors = {
            name: np.where(known, squared_log_error(np.nan_to_num(actual), yhat), 0.0).sum(axis=0)
            for name, yhat in forecasts.items()
        }
        self.served[day] = Served(fitted, errors, known.sum(axis=0).astype(np.float64))

    def _health(self, day: pd.Timestamp) -> Health:
        """The error check: RMSLE over the seasonal naive's, on the last days, beside what was promised."""
        totals = {LOOP: 0.0, NAIVE: 0.0}
        rows, window = 0, self.parts.panel.frequency.dates(WINDOW_DAYS)
        for cutoff, served in self.served.items():
            ahead = self.parts.panel.between(cutoff, day)
            inside = slice(max(0, ahead - window), min(ahead, len(served.rows)))
            rows += int(served.rows[inside].sum())
            for name in totals:
                totals[name] += float(served.errors[name][inside].sum())
        limit = self.promised * (1 + TOLERANCE)
        ratio = float(np.sqrt(totals[LOOP] / totals[NAIVE])) if totals[NAIVE] > 0 else None
        breached = ratio is not None and ratio > limit
        value = "not known" if ratio is None else f"{ratio:.3f}"
        note = f"RMSLE over the naive's is {value} on {WINDOW_DAYS} days; {self.promised:.3f} was promised."
        check = Check("error", ALL, ratio, limit, breached, WINDOW_DAYS, note)
        release = str(self.loop.current.date())
        return Health(self.dataset, release, str(day.date()), (check,), {"rows": rows})

    def _promise(self, fitted: pd.Timestamp) -> float:
        """RMSLE over the seasonal naive's on the fold before a fit."""
        fold = self._fold(fitted)
        panel = self.parts.panel
        actual = panel.actuals(fold, panel.horizon)
        duel = Duel.of(actual, self.parts.forecast(fold, fold), self.parts.naive(fold), panel.frequency.days)
        return duel.newer / duel.older

    def _fold(self, day: pd.Timestamp) -> pd.Timestamp:
        """The cutoff a horizon before a day."""
        dates = self.parts.panel.dates
        return dates[int(dates.searchsorted(day)) - self.parts.panel.horizon]
