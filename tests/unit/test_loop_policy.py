"""The retraining policy: what is never done, what is done in the end, and why."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.errors import ConfigError
from storecast.loop.decisions import Decision
from storecast.loop.policy import Budget, Policy, QuietHours, decide, load_policy
from storecast.loop.state import LoopState, state_of
from storecast.monitor.health import Check, Health

START = datetime(2024, 1, 1, 6, tzinfo=UTC)
NO_LIMITS = Policy(name="free", every_days=0, consecutive=1, cooldown_days=0, budget=Budget(runs=99))


def health(now: datetime, *breached: str) -> Health:
    checks = tuple(Check(name, "all", 2.0, 1.0, True, 14, f"{name} is over its limit.") for name in breached)
    return Health("shop", "r1", f"{now - timedelta(days=1):%Y-%m-%d}", checks)


def live(policy: Policy, breaches: list[tuple[str, ...]], hours: list[int] | None = None) -> list[Decision]:
    """One pass a day at some hour of it; each training takes ten minutes and gives a new model."""
    log: list[Decision] = []
    trained_to = "2023-12-31"
    for day, names in enumerate(breaches):
        now = START.replace(hour=0) + timedelta(days=day, hours=hours[day] if hours else 6)
        seen = health(now, *names)
        made = decide(policy, state_of(log, trained_to), seen, now)
        log.append(made)
        if made.action == "train":
            log.append(made.next("trained", "gate", "", now, {"minutes": 10.0}))
            trained_to = seen.as_of
    return log


days = st.lists(
    st.sampled_from([(), ("error",), ("scale",), ("error", "volume"), ("coverage",)]), max_size=60
)
hours = st.lists(st.integers(0, 23), min_size=60, max_size=60)
policies = st.builds(
    Policy,
    name=st.just("any"),
    every_days=st.integers(0, 20),
    consecutive=st.integers(1, 5),
    cooldown_days=st.floats(0, 15),
    budget=st.builds(Budget, runs=st.integers(1, 3), minutes=st.floats(1, 30)),
    quiet_hours=st.lists(st.builds(QuietHours, start=st.times(), end=st.times()), max_size=2).map(tuple),
    timezone=st.sampled_from(["UTC", "America/Guayaquil", "Asia/Kolkata"]),
)


@settings(max_examples=150)
@given(policies, days, hours)
def test_no_history_leads_to_a_training_that_the_policy_forbids(
    policy: Policy, breaches: list[tuple[str, ...]], at: list[int]
) -> None:
    trainings = [d for d in live(policy, breaches, at) if d.action == "train"]
    started = [datetime.fromisoformat(d.at) for d in trainings]
    for earlier, later in itertools.pairwise(started):
        assert later - earlier >= timedelta(days=policy.cooldown_days)
    zone = ZoneInfo(policy.timezone)
    local = [moment.astimezone(zone) for moment in started]
    for moment in local:
        assert sum(other.date() == moment.date() for other in local) <= policy.budget.runs
        assert not any(moment.time() in span for span in policy.quiet_hours)
    for training in trainings:
        assert "volume" not in {check.name for check in training.seen}, "broken data are not learnt from"


@settings(max_examples=100)
@given(st.integers(1, 6), days)
def test_breaches_that_last_lead_to_a_training_when_nothing_forbids_it(
    consecutive: int, before: list[tuple[str, ...]]
) -> None:
    policy = replace_policy(consecutive=consecutive)
    log = live(policy, [*before, *[("error",)] * consecutive])
    passes = [d for d in log if d.action in {"nothing", "train", "wait"}]
    assert "train" in {d.action for d in passes[-consecutive:]}


@given(st.integers(1, 25), st.integers(26, 60))
def test_without_any_breach_the_model_never_gets_older_than_the_schedule_says(every: int, n: int) -> None:
    log = live(replace_policy(every_days=every), [()] * n)
    fitted = ["2023-12-31", *[d.as_of for d in log if d.action == "train"], log[-1].as_of]
    dates = [datetime.fromisoformat(day) for day in fitted]
    assert all(later - earlier <= timedelta(days=every) for earlier, later in itertools.pairwise(dates))


def replace_policy(**changes: object) -> Policy:
    return NO_LIMITS.model_copy(update=changes)


def test_one_bad_day_is_not_enough_and_the_record_counts_the_days() -> None:
    policy = replace_policy(consecutive=3)
    log = live(policy, [("error",), ("error",), (), ("error",), ("error",), ("error",)])
    assert [(d.action, d.streak) for d in log if d.action != "trained"] == [
        ("nothing", 1), ("nothing", 2), ("nothing", 0), ("nothing", 1), ("nothing", 2), ("train", 3)
    ]  # fmt: skip
    assert "2 of 3 days in a row" in log[1].because
    assert log[5].rule == "breach"
    assert "error is over its limit" in log[5].because


def test_a_day_that_is_looked_at_twice_counts_once() -> None:
    policy = replace_policy(consecutive=2)
    first = decide(policy, LoopState(trained_to="2023-12-31"), health(START, "error"), START)
    again = decide(
        policy, state_of([first], "2023-12-31"), health(START, "error"), START + timedelta(hours=1)
    )
    assert again.action == "nothing"
    assert again.id == first.id, "the same decision on the same data is the same record"


def test_the_same_data_are_not_learnt_from_twice() -> None:
    first = decide(NO_LIMITS, LoopState(trained_to="2023-12-31"), health(START, "error"), START)
    assert first.action == "train"
    again = decide(
        NO_LIMITS, state_of([first], "2023-12-31"), health(START, "error"), START + timedelta(hours=1)
    )
    assert (again.action, again.rule) == ("wait", "data")


def test_a_training_that_failed_counts_against_the_limits_and_not_as_the_age_of_the_model() -> None:
    policy = replace_policy(every_days=28, cooldown_days=7, budget=Budget(runs=1))
    first = decide(policy, LoopState(trained_to="2023-12-03"), health(START), START)
    assert (first.action, first.rule) == ("train", "schedule")
    log = [first, first.next("failed", "training", "out of order", START, {"minutes": 3.0})]

    def later(days: float) -> Decision:
        now = START + timedelta(days=days)
        return decide(policy, state_of(log, "2023-12-03"), health(now), now)

    assert (later(0.5).action, later(0.5).rule) == ("wait", "cooldown")
    assert (later(6).action, later(6).rule) == ("wait", "cooldown")
    assert (later(7).action, later(7).rule) == ("train", "schedule")
    policy = replace_policy(every_days=28, budget=Budget(runs=1))
    assert (later(0.5).action, later(0.5).rule) == ("wait", "budget")
    again = decide(policy, state_of(log, "2023-12-03"), health(START), START + timedelta(days=1))
    assert (again.action, again.rule) == ("train", "schedule"), "the same data may be tried again"


def test_a_broken_feed_is_not_learnt_from_and_the_record_says_so() -> None:
    made = decide(NO_LIMITS, LoopState(trained_to="2023-12-31"), health(START, "error", "volume"), START)
    assert (made.action, made.rule) == ("wait", "hold")
    assert "volume is over its limit" in made.because


def test_quiet_hours_may_go_over_midnight_and_are_local() -> None:
    night = QuietHours(start=time(22), end=time(6))
    policy = replace_policy(quiet_hours=(night,), timezone="America/Guayaquil")
    state = LoopState(trained_to="2023-12-31")
    late = datetime(2024, 1, 2, 4, tzinfo=UTC)  # 23:00 in Guayaquil
    assert decide(policy, state, health(late, "error"), late).rule == "quiet_hours"
    noon = late + timedelta(hours=13)
    assert decide(policy, state, health(noon, "error"), noon).action == "train"


def test_a_day_whose_trainings_took_too_long_has_no_more() -> None:
    policy = replace_policy(budget=Budget(runs=9, minutes=60))
    first = decide(policy, LoopState(trained_to="2023-12-31"), health(START, "error"), START)
    long = first.next("trained", "gate", "", START, {"minutes": 61.0})
    later = START + timedelta(hours=12)
    newer = replace(health(START, "error"), as_of="2024-01-01")
    made = decide(policy, state_of([first, long], "2023-12-31"), newer, later)
    assert (made.action, made.rule) == ("wait", "budget")
    assert "61 of 60 minutes" in made.because


def test_a_manual_policy_asks_once_and_trains_after_the_yes() -> None:
    policy = replace_policy(approval="manual")
    asked = decide(policy, LoopState(trained_to="2023-12-31"), health(START, "error"), START)
    assert asked.action == "ask"
    log, later = [asked], START + timedelta(days=1)
    waits = decide(policy, state_of(log, "2023-12-31"), health(later, "error"), later)
    assert (waits.action, waits.rule) == ("wait", "approval")
    assert asked.id in waits.because
    log += [waits, asked.next("approve", "approval", "by a person", later)]
    later += timedelta(days=1)
    trains = decide(policy, state_of(log, "2023-12-31"), health(later), later)
    assert (trains.action, trains.rule, trains.follows) == ("train", "approval", asked.id)
    assert state_of([*log, trains], "2024-01-02").approved == "", "a yes is good for one training"


def test_a_no_holds_for_the_cooldown() -> None:
    policy = replace_policy(approval="manual", cooldown_days=7)
    asked = decide(policy, LoopState(trained_to="2023-12-31"), health(START, "error"), START)
    log = [asked, asked.next("decline", "approval", "by a person", START)]

    def later(days: int) -> Decision:
        now = START + timedelta(days=days)
        return decide(policy, state_of(log, "2023-12-31"), health(now, "error"), now)

    assert (later(6).action, later(6).rule) == ("wait", "approval")
    assert (
        "a person said no 2024-01-01 06:00; nobody is asked again before 2024-01-08 06:00" in later(6).because
    )
    assert later(7).action == "ask"


def test_that_nothing_is_breached_is_not_called_healthy_while_nothing_can_be_judged() -> None:
    state, seen = LoopState(trained_to="2023-12-31"), health(START)
    note = "96 rows of what was served have actuals, 200 are needed."
    early = replace(seen, checks=(Check("error", "all", None, 0.0, False, 28, note),))
    made = decide(NO_LIMITS, state, early, START)
    assert (made.action, made.rule) == ("nothing", "unjudged")
    assert f"Not judged yet: error (all): {note}" in made.because
    known = replace(seen, checks=(Check("error", "all", 0.9, 1.25, False, 28, "fine"),))
    assert decide(NO_LIMITS, state, known, START).rule == "healthy"


def test_a_challenger_in_shadow_is_waited_for() -> None:
    state = LoopState(trained_to="2023-12-31", in_shadow="2024-01-01-abc")
    assert decide(NO_LIMITS, state, health(START, "error"), START).rule == "shadow"


def test_the_policy_that_ships_can_be_read_and_is_what_the_defaults_are() -> None:
    assert load_policy("default") == Policy(name="default")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cooldown: 3", "cooldown_days"),
        ("checks: [eror]", "there is no check 'eror'"),
        ("timezone: Mars/Olympus", "no time zone"),
        ("budget: {runs: 0}", "greater than or equal to 1"),
        ("quiet_hours: [{start: 22:00, end: 06:00}]", 'written in quotes, like "22:00"'),
        ("quiet_hours: [{start: '22:00Z', end: '06:00'}]", "has no zone of its own"),
        ("quiet_hours: [{start: '1320', end: '06:00'}]", "quiet_hours"),
    ],
)
def test_a_wrong_policy_is_refused_with_what_is_right(tmp_path: object, line: str, said: str) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "mine.yaml"
    file.write_text(f"name: mine\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        load_policy(str(file))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        decide(NO_LIMITS, LoopState(), health(START), START.replace(tzinfo=None))
