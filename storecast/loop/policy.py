"""The retraining policy: a YAML file, and the pure function that turns it, the past and a day's health into
a decision.

    decide(policy, state, health, now) -> Decision

Every outcome is a decision, also that nothing is to be done, and says which rule led to it and why.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from storecast.configs import config_file
from storecast.errors import ConfigError
from storecast.loop.decisions import Decision
from storecast.loop.state import LoopState
from storecast.monitor.health import CHECKS, Check, Health
from storecast.yaml_model import load_yaml_model


class QuietHours(BaseModel):
    """A span of the day, from `start` up to but without `end`; over midnight where the end comes first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: time
    end: time

    @field_validator("start", "end", mode="before")
    @classmethod
    def _quoted(cls, said: Any) -> Any:
        if isinstance(said, (int, float)):  # YAML takes 22:00 for a number in base 60
            raise ValueError('a time of day is written in quotes, like "22:00"')  # noqa: TRY004
        return said

    @field_validator("start", "end")
    @classmethod
    def _local(cls, moment: time) -> time:
        if moment.tzinfo is not None:
            raise ValueError("a time of day has no zone of its own: it is of the policy's timezone")
        return moment

    def __contains__(self, moment: time) -> bool:
        """Whether a time of day lies in the span; equal ends are the whole day."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


class Budget(BaseModel):
    """What trainings may take in one day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: int = Field(default=1, ge=1, description="Trainings that may start.")
    minutes: float = Field(
        default=240.0, gt=0, description="No training starts once today's took so many minutes."
    )


class Rollback(BaseModel):
    """When a release is taken back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(default=7, ge=1, description="Days of actuals after which a release is judged, once.")
    margin: float = Field(
        default=0.05, ge=0, description="Relative RMSLE by which it may be worse than the release before."
    )


class Policy(BaseModel):
    """A retraining policy, as configs/policies/*.yaml say it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    training: str = Field(default="full", description="Training config of the new model, by name or file.")
    every_days: int = Field(
        default=28, ge=0, description="Days from one training to the next at most; 0: any number."
    )
    checks: tuple[str, ...] = Field(
        default=("error", "bias", "error_drift", "scale"), description="Checks whose breach counts."
    )
    consecutive: int = Field(default=3, ge=1, description="Days with a breach that lead to a training.")
    hold: tuple[str, ...] = Field(
        default=("volume", "freshness"), description="Checks whose breach forbids to learn from the data."
    )
    cooldown_days: float = Field(default=7.0, ge=0, description="Days between the starts of two trainings.")
    budget: Budget = Field(default_factory=Budget)
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), description="When no training starts.")
    timezone: str = Field(default="UTC", description="Of the quiet hours and of the budget's day.")
    approval: Literal["automatic", "manual"] = "automatic"
    shadow_days: int = Field(default=0, ge=0, description="Days that a challenger forecasts beside first.")
    rollback: Rollback | None = Field(
        default_factory=Rollback, description="When a release is taken back; null: never by itself."
    )

    @field_validator("checks", "hold")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in CHECKS]:
            raise ValueError(f"there is no check {unknown[0]!r}: one of {', '.join(CHECKS)}")
        return names

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"there is no time zone {name!r}; write it like America/Guayaquil") from error
        return name


def load_policy(name: str) -> Policy:
    """A policy by name, path or URI.

    Raises:
        ConfigError: there is no such file, or it is wrong.
    """
    return load_yaml_model(config_file(name, "policies"), Policy)


def decide(policy: Policy, state: LoopState, health: Health, now: datetime) -> Decision:
    """Whether to train now.

    First what asks for a training (breaches, age of the model, a person's yes), then what forbids one: data
    that are broken or no newer than the last training's, a challenger in shadow, the cooldown, the budget,
    quiet hours, and a question that nobody has answered.

    Args:
        policy: the rules.
        state: what has been.
        health: the checks as of today.
        now: the time, with a time zone.

    Returns:
        A decision whose action is "train", "ask", "wait" (training is due, and a rule forbids it) or
        "nothing".

    Raises:
        ConfigError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ConfigError("the time has no time zone", where="decide", found=now.isoformat())
    counted = [check for check in health.breaches if check.name in policy.checks]
    streak = _streak(state, health.as_of, bool(counted))

    def decision(action: str, rule: str, because: str) -> Decision:
        return Decision.of(health, action, rule, because, now, policy=policy.name, streak=streak)

    due = _due(policy, state, health, streak)
    if due is None:
        return decision("nothing", *_quiet(policy, health, counted, streak))
    if forbidden := _forbidden(policy, state, health, now):
        rule, because = forbidden
        return decision("wait", rule, f"{due[1]} But {because}")
    if policy.approval == "manual" and not state.approved:
        if state.asked:
            return decision("wait", "approval", f"{due[1]} But {state.asked} has not been approved yet.")
        if state.declined and now < (until := state.declined + timedelta(days=policy.cooldown_days)):
            said = f"a person said no {_at(state.declined)}; nobody is asked again before {_at(until)}."
            return decision("wait", "approval", f"{due[1]} But {said}")
        return decision("ask", "approval", f"{due[1]} The policy asks a person first.")
    made = decision("train", *due)
    return made.following(state.approved) if state.approved else made


def _streak(state: LoopState, as_of: str, breached: bool) -> int:
    """Days in a row with a breach, today's included; a day that is seen again does not count twice."""
    if not breached:
        return 0
    return max(state.streak, 1) if as_of == state.seen_to else state.streak + 1


def _due(policy: Policy, state: LoopState, health: Health, streak: int) -> tuple[str, str] | None:
    """The rule that asks for a training, and why."""
    if state.approved:
        return "approval", f"A person has approved {state.approved}."
    counted = [check for check in health.breaches if check.name in policy.checks]
    if counted and streak >= policy.consecutive:
        return "breach", f"{streak} days in a row with a breach: {_notes(counted)}"
    if not state.trained_to:
        return "schedule", "There is no model yet."
    age = _days(max(state.trained_to, state.learnt_to), health.as_of)
    if policy.every_days and age >= policy.every_days:
        return "schedule", f"The last training was {age} days ago; the policy allows {policy.every_days}."
    return None


def _quiet(policy: Policy, health: Health, counted: list[Check], streak: int) -> tuple[str, str]:
    """The rule by which nothing is due; that nothing is breached says little while nothing can be judged."""
    if counted:
        more = f"{streak} of {policy.consecutive} days in a row with a breach"
        return "breach", f"{more}: {_notes(counted)}"
    because = "No check that counts is breached, and the model is young enough."
    waiting = [check for check in health.unjudged if check.name in policy.checks]
    if waiting:
        because += f" Not judged yet: {_notes(waiting)}"
    return ("healthy" if health.judged else "unjudged"), because


def _forbidden(policy: Policy, state: LoopState, health: Health, now: datetime) -> tuple[str, str] | None:
    """The first rule that forbids a training now, and why."""
    broken = [check for check in health.breaches if check.name in policy.hold]
    if broken:
        return "hold", f"the data are not to be learnt from: {_notes(broken)}"
    if state.in_shadow:
        return "shadow", f"the challenger {state.in_shadow} has not finished its days beside the champion."
    if health.as_of <= state.learnt_to:
        return "data", f"there are no data newer than {state.learnt_to}, which a training has learnt from."
    last = state.trainings[-1] if state.trainings else None
    if last and now - last.started < timedelta(days=policy.cooldown_days):
        until = last.started + timedelta(days=policy.cooldown_days)
        return (
            "cooldown",
            f"the last training started {last.started:%Y-%m-%d %H:%M}; not before {_at(until)}.",
        )
    return _over_budget(policy, state, now) or _at_quiet(policy, now)


def _over_budget(policy: Policy, state: LoopState, now: datetime) -> tuple[str, str] | None:
    zone = ZoneInfo(policy.timezone)
    today = [t for t in state.trainings if t.started.astimezone(zone).date() == now.astimezone(zone).date()]
    spent = sum(training.minutes for training in today)
    if len(today) >= policy.budget.runs:
        return "budget", f"{len(today)} of {policy.budget.runs} trainings of today have started."
    if spent >= policy.budget.minutes:
        return "budget", f"today's trainings took {spent:.0f} of {policy.budget.minutes:.0f} minutes."
    return None


def _at_quiet(policy: Policy, now: datetime) -> tuple[str, str] | None:
    moment = now.astimezone(ZoneInfo(policy.timezone)).time()
    for span in policy.quiet_hours:
        if moment in span:
            return "quiet_hours", f"no training starts from {span.start:%H:%M} to {span.end:%H:%M}."
    return None


def _notes(checks: list[Check]) -> str:
    """The notes of up to three checks."""
    said = [f"{check.name} ({check.segment}): {check.note}" for check in checks[:3]]
    more = [f"and {len(checks) - 3} more"] if len(checks) > 3 else []
    return " ".join([*said, *more])


def _days(earlier: str, later: str) -> int:
    return (date.fromisoformat(later) - date.fromisoformat(earlier)).days


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
