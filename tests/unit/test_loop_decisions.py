"""Decisions as records: whole, in order, once; and what they say about now."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from storecast.errors import ConfigError, StoreError
from storecast.loop.decisions import Decision, DecisionLog, pending
from storecast.loop.judge import Duel, judge_release, judge_shadow
from storecast.loop.policy import Policy, Rollback
from storecast.loop.state import on_trial, state_of, unfinished
from storecast.monitor.health import Check, Health

NOW = datetime(2024, 1, 2, 6, tzinfo=UTC)
CHECK = Check("error", "all", 1.4, 1.1, True, 28, "RMSLE is 1.40 times the naive's.")
HEALTH = Health("shop", "r1", "2024-01-01", (CHECK,))


def decision(action: str = "nothing", hours: float = 0, **changes: str) -> Decision:
    made = Decision.of(HEALTH, action, "breach", "why", NOW + timedelta(hours=hours), policy="p", streak=1)
    return replace(made, **changes) if changes else made  # type: ignore[arg-type]


@pytest.fixture(params=["folder", "object store"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> DecisionLog:
    root = str(tmp_path) if request.param == "folder" else f"memory://{uuid4().hex}"
    return DecisionLog(root, "shop")


def test_a_record_is_read_back_as_it_was_written(log: DecisionLog) -> None:
    made = decision("train").with_outcome({"release": "r2", "minutes": 1.5})
    assert log.record(made)
    assert log.all() == [made]
    assert log.get(made.id[:14]) == made
    assert made.seen == (CHECK,)


def test_the_same_decision_on_the_same_data_is_one_record(log: DecisionLog) -> None:
    assert log.record(decision())
    assert not log.record(decision(hours=3)), "another hour, the same decision"
    assert log.all()[0].at == "2024-01-02T06:00:00.000+00:00", "what was written first stays"
    assert log.record(decision("wait"))
    assert len(log.all()) == 2


def test_of_many_who_write_the_same_decision_at_once_one_is_told_it_is_new(tmp_path: Path) -> None:
    log = DecisionLog(str(tmp_path), "shop")
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda hours: log.record(decision("train", hours)), range(16)))
    assert sum(told) == 1
    files = list(Path(log.root).iterdir())
    assert len(files) == 1, "no temporary file stays"
    assert json.loads(files[0].read_text())["action"] == "train"


def test_decisions_come_in_the_order_they_were_taken(log: DecisionLog) -> None:
    made = [
        decision(hours=h, as_of=day) for h, day in ((2, "2024-01-01"), (1, "2023-12-30"), (3, "2024-01-03"))
    ]
    for each in made:
        log.record(each)
    assert [d.as_of for d in log.all()] == ["2023-12-30", "2024-01-01", "2024-01-03"]
    assert [d.as_of for d in log.all(since="2024-01-01")] == ["2024-01-01", "2024-01-03"]


def test_what_follows_at_the_same_moment_comes_after_what_led_to_it(log: DecisionLog) -> None:
    actions = ["train", "trained", "promote", "probed", "keep"]
    chain = [decision("train")]
    for action in actions[1:]:
        chain.append(chain[-1].next(action, "breach", "why", NOW))
    for made in reversed(chain):
        log.record(made)
    assert [found.action for found in log.all()] == actions


def test_a_damaged_record_is_named(log: DecisionLog, tmp_path: Path) -> None:
    folder = DecisionLog(str(tmp_path), "shop").root
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "2024-01-01-abc.json").write_text("{}")
    with pytest.raises(StoreError, match=r"2024-01-01-abc\.json"):
        DecisionLog(str(tmp_path), "shop").all()


def test_a_question_is_open_until_it_is_answered_or_a_newer_one_is_asked() -> None:
    first, second = decision("ask"), decision("ask", 24, as_of="2024-01-02")
    assert pending([first]) == [first]
    assert pending([first, second]) == [second]
    assert pending([first, first.next("decline", "approval", "no", NOW)]) == []
    assert pending([first, decision("train", 2)]) == []


def test_an_answer_counts_until_the_training_it_allowed() -> None:
    asked = decision("ask")
    yes = asked.next("approve", "approval", "yes", NOW)
    assert state_of([asked, yes], "").approved == asked.id
    assert state_of([asked, yes, decision("train", 1)], "").approved == ""


def test_a_training_is_unfinished_until_its_end_is_recorded() -> None:
    started = decision("train")
    assert unfinished([started]) == started
    ended = started.next("trained", "gate", "", NOW, {"minutes": 3.0})
    assert unfinished([started, ended]) is None
    assert state_of([started, ended], "").trainings[0].minutes == 3.0


def test_a_training_that_a_person_gives_up_has_ended_and_taught_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    log, started = DecisionLog(str(tmp_path), "shop"), decision("train")
    log.record(started)
    refused = CliRunner().invoke(app, ["loop", "approve", started.id])
    assert isinstance(refused.exception, ConfigError), "there is nothing to say yes to"
    assert unfinished(log.all()) == started
    assert CliRunner().invoke(app, ["loop", "decline", started.id]).exit_code == 0
    assert unfinished(log.all()) is None
    assert state_of(log.all(), "").learnt_to == ""
    again = CliRunner().invoke(app, ["loop", "decline", started.id])
    assert isinstance(again.exception, ConfigError), "it has ended"


def test_a_challenger_is_in_shadow_until_it_is_judged() -> None:
    started = decision("train")
    trained = started.next("trained", "gate", "", NOW, {"shadow": "r2"})
    assert state_of([started, trained], "").in_shadow == "r2"
    assert state_of([started, trained, decision("shadow", 3)], "").in_shadow == "r2"
    assert state_of([started, trained, decision("reject", 3)], "").in_shadow == ""


def test_a_promotion_is_on_trial_until_it_is_kept_or_taken_back() -> None:
    promoted = decision("promote").with_outcome({"release": "r2", "before": "r1"})
    assert on_trial([promoted]) == promoted
    assert on_trial([promoted, decision("keep", 1)]) is None
    assert on_trial([promoted, decision("rollback", 1)]) is None
    assert on_trial([decision("promote").with_outcome({"release": "r1", "before": ""})]) is None


def test_a_duel_counts_the_rows_that_both_forecast_and_that_happened() -> None:
    actual = np.array([[10.0, 20.0, np.nan], [5.0, np.nan, np.nan]])
    right, half = actual.copy(), actual / 2
    half[1, 0] = np.nan
    duel = Duel.of(actual, right, half, 1)
    assert (duel.days, duel.rows, duel.newer) == (2, 2, 0.0)
    assert duel.older == pytest.approx(np.sqrt(np.mean((np.log1p([10, 20]) - np.log1p([5, 10])) ** 2)))


def test_a_challenger_is_promoted_only_after_its_days_and_only_if_it_was_no_worse() -> None:
    policy = Policy(name="p", shadow_days=5)
    assert judge_shadow(policy, Duel(4, 100, 0.3, 0.4)) == "shadow"
    assert judge_shadow(policy, Duel(5, 100, 0.4, 0.4)) == "promote"
    assert judge_shadow(policy, Duel(5, 100, 0.41, 0.4)) == "reject"


def test_more_days_than_a_forecast_has_end_with_the_forecast() -> None:
    policy = Policy(name="p", shadow_days=30, rollback=Rollback(days=30, margin=0.05))
    assert judge_shadow(policy, Duel(16, 100, 0.3, 0.4)) == "shadow"
    assert judge_shadow(policy, Duel(16, 100, 0.3, 0.4, over=True)) == "promote"
    assert judge_shadow(policy, Duel(15, 100, 0.5, 0.4, over=True)) == "reject", "one day had no sales at all"
    assert judge_shadow(policy, Duel(0, 0, float("nan"), float("nan"), over=True)) == "reject"
    assert judge_release(policy, Duel(16, 100, 0.3, 0.4)) == ""
    assert judge_release(policy, Duel(16, 100, 0.3, 0.4, over=True)) == "keep"
    assert judge_release(policy, Duel(16, 100, 0.5, 0.4, over=True)) == "rollback"


def test_a_release_is_taken_back_only_after_its_days_and_beyond_the_margin() -> None:
    policy = Policy(name="p", rollback=Rollback(days=7, margin=0.05))
    assert judge_release(policy, Duel(6, 100, 0.9, 0.4)) == ""
    assert judge_release(policy, Duel(7, 100, 0.419, 0.4)) == "keep"
    assert judge_release(policy, Duel(7, 100, 0.421, 0.4)) == "rollback"
    assert judge_release(policy, Duel(7, 0, float("nan"), float("nan"))) == ""
    assert judge_release(Policy(name="p", rollback=None), Duel(7, 100, 0.9, 0.4)) == ""
