"""A replay: who is trained when, who pays what, and that a better model is found by those who look for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from storecast.gate import GateConfig
from storecast.loop.policy import Budget, Policy, Rollback
from storecast.loop.replay import DAILY, LOOP, NEVER, Replay
from storecast.panel import Floats, Panel
from storecast.synthetic import make_panel

RULES = GateConfig(segments=())
HORIZON = 7


@dataclass
class Levels:
    """A model that learns each series' mean of a week and forecasts it, wherever it is asked."""

    panel: Panel

    def seconds(self, day: pd.Timestamp) -> float:
        del day
        return 2.0

    def forecast(self, fitted: pd.Timestamp, at: pd.Timestamp) -> Floats:
        del at
        seen = self.panel.at(fitted, 0).history[:, -7:]
        return np.repeat(np.expm1(np.log1p(seen).mean(axis=1))[:, None], HORIZON, axis=1)

    def naive(self, at: pd.Timestamp) -> Floats:
        return self.panel.at(at, 0).history[:, -7:]


def by(freq: str, levels: Levels) -> Levels:
    """The same sales on dates of another frequency."""
    dates = pd.date_range("2000-01-01", periods=len(levels.panel.dates), freq=freq)
    return Levels(replace(levels.panel, dates=dates, freq=freq, cutoff=dates[levels.panel.n_history - 1]))


def shifted(days: int = 60, factor: float = 3.0) -> tuple[Levels, pd.DatetimeIndex]:
    """Noisy level series; half-way through the period all are `factor` times what they were."""
    panel = make_panel(n_stores=2, n_families=3, n_days=200, horizon=HORIZON)
    rng = np.random.default_rng(1)
    y = np.where(np.isnan(panel.y), np.nan, 50 * np.exp(rng.normal(0, 0.3, panel.y.shape)))
    end = panel.n_history - HORIZON
    y[:, end - days // 2 :] *= factor
    return Levels(replace(panel, y=y)), panel.dates[end - days : end]


def a_rush() -> tuple[Levels, pd.DatetimeIndex]:
    """The same with a rush that ends when a model has learnt it."""
    levels, days = shifted()
    bump = levels.panel.dates.get_loc(days[20])
    y = levels.panel.y.copy()
    y[:, bump : bump + 6] *= 6
    return Levels(replace(levels.panel, y=y)), days


def run(levels: Levels, days: pd.DatetimeIndex, policy: Policy) -> Replay:
    replay = Replay(levels, policy, RULES, days, "shop")
    assert list(replay.run()) == list(days)
    return replay


POLICY = Policy(name="p", every_days=0, consecutive=2, cooldown_days=5, budget=Budget(runs=1))
TAKES_BACK = POLICY.model_copy(update={"rollback": Rollback(days=4, margin=0.05)})


def test_after_a_level_shift_the_loop_gains_most_of_what_training_daily_gains_at_less_cost() -> None:
    levels, days = shifted()
    replay = run(levels, days, POLICY)
    table = replay.result()
    total = {name: table[f"sse_{name}"].sum() for name in (NEVER, DAILY, LOOP)}
    assert total[DAILY] < total[NEVER]
    assert (total[NEVER] - total[LOOP]) > 0.5 * (total[NEVER] - total[DAILY])
    last = table.iloc[-1]
    assert last["fits_never"] == 0
    assert last["fits_daily"] == len(days) - 1
    assert 0 < last["fits_loop"] <= 0.5 * last["fits_daily"]
    assert last["seconds_loop"] == 2.0 * last["fits_loop"]
    first = next(d for d in replay.log if d.action == "train")
    assert first.rule == "breach"
    assert 0 < (pd.Timestamp(first.as_of) - days[len(days) // 2]).days < 14


@pytest.mark.parametrize(("freq", "step"), [("W-SUN", 7), ("MS", 30)])
def test_weeks_and_months_are_replayed_date_by_date(freq: str, step: int) -> None:
    daily, days = shifted()
    levels = by(freq, daily)
    days = levels.panel.dates[daily.panel.dates.get_indexer(days)]
    policy = Policy(name="p", every_days=3 * step, consecutive=1, cooldown_days=0, shadow_days=2 * step)
    replay = run(levels, days, policy)
    table = replay.result()
    assert table["sse_loop"].sum() < table["sse_never"].sum()
    told = [d.because for d in replay.log if d.rule == "shadow" and d.action in {"promote", "reject"}]
    assert told
    assert all(because.startswith(f"On {2 * step} days since") for because in told)


def test_on_a_steady_panel_the_loop_leaves_the_model_alone() -> None:
    levels, days = shifted(factor=1.0)
    replay = run(levels, days, POLICY)
    assert {d.action for d in replay.log} == {"nothing"}
    assert replay.result()["sse_loop"].equals(replay.result()["sse_never"])


def test_no_forecast_has_seen_a_day_that_it_is_scored_on() -> None:
    levels, days = shifted()
    before = run(levels, days, POLICY).result()
    y = levels.panel.y.copy()
    cut = levels.panel.dates.get_loc(days[40]) + 1
    y[:, cut:] *= 7
    changed = Levels(replace(levels.panel, y=y))
    after = run(changed, days, POLICY).result()
    columns = ["action", "rule", "fitted_loop", "fits_loop"]
    pd.testing.assert_frame_equal(before.loc[:40, columns], after.loc[:40, columns])
    early = before["day"] <= days[40] - pd.Timedelta(days=HORIZON)
    assert np.allclose(before.loc[early, "sse_loop"], after.loc[early, "sse_loop"])


def test_the_gate_keeps_a_model_that_is_no_better() -> None:
    levels, days = shifted(factor=1.0)
    replay = run(levels, days, POLICY.model_copy(update={"every_days": 10}))
    verdicts = [d for d in replay.log if d.action in {"promote", "reject"}]
    assert verdicts
    assert all("RMSLE" in d.because for d in verdicts)
    promoted = [d for d in verdicts if d.action == "promote"]
    fitted = set(replay.result()["fitted_loop"])
    assert fitted == {days[0], *(pd.Timestamp(d.as_of) for d in promoted)}


def test_a_release_that_turns_out_worse_is_taken_back() -> None:
    rush, days = a_rush()
    replay = run(rush, days, TAKES_BACK)
    taken = [d for d in replay.log if d.action == "rollback"]
    assert taken
    assert "against" in taken[0].because


def test_after_it_is_taken_back_the_model_before_is_held_to_its_own_promise() -> None:
    rush, days = a_rush()
    replay = Replay(rush, TAKES_BACK, RULES, days, "shop")
    promises = [(replay.promised, replay.loop.current) for _ in replay.run()]
    assert any(d.action == "rollback" for d in replay.log)

    def own(model: pd.Timestamp) -> float:
        return Replay(rush, TAKES_BACK, RULES, days[days >= model], "shop").promised

    assert all(promised == own(model) for promised, model in promises)


def test_a_challenger_in_shadow_serves_nobody() -> None:
    levels, days = shifted()
    replay = run(levels, days, POLICY.model_copy(update={"shadow_days": 4}))
    trained = next(d for d in replay.log if d.action == "trained" and d.outcome["shadow"])
    judged = next(d for d in replay.log if d.rule == "shadow" and d.action in {"promote", "reject"})
    assert (pd.Timestamp(judged.as_of) - pd.Timestamp(trained.as_of)).days == 4
    table = replay.result().set_index("day")
    between = table.loc[pd.Timestamp(trained.as_of) : pd.Timestamp(judged.as_of) - pd.Timedelta(days=1)]
    assert (between["fitted_loop"] == days[0]).all()


@pytest.mark.parametrize("approval", ["manual"])
def test_a_policy_that_asks_trains_nothing_in_a_replay(approval: str) -> None:
    levels, days = shifted()
    replay = run(levels, days, POLICY.model_copy(update={"approval": approval}))
    assert replay.result()["fits_loop"].iloc[-1] == 0
    assert sum(d.action == "ask" for d in replay.log) == 1
