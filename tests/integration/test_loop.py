"""The loop for real, in process: actuals that shift, a breach, a training, a release, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from prefect.testing.utilities import prefect_test_harness

from pipelines.loop import watch_flow
from pipelines.training import training_flow
from storecast.loop.decisions import Decision, DecisionLog, pending
from storecast.loop.state import on_trial
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore
from storecast.synthetic import raw_tables

DAYS, HORIZON = 300, 16
TRAINING = "name: tiny\nmodels: [naive, gbm]\nprofile: smoke\nfolds: 1\ngate: {segments: []}\n"
WORSE = "name: worse\nmodels: [naive]\nfolds: 1\ngate: {segments: []}\n"
POLICY = """
name: eager
training: {training}
every_days: 0
consecutive: 1
hold: []
cooldown_days: 0
budget: {{runs: 9}}
approval: {approval}
shadow_days: {shadow}
rollback: {{days: 5, margin: 0.05}}
"""


@dataclass(frozen=True)
class Shop:
    """A retailer whose sales go on: raw files up to any day, and a home."""

    folder: Path

    def raw(self, until: int, *factors: tuple[int, float]) -> str:
        """Raw files up to day `until`; from each day of `factors` on, sales are so many times as high."""
        folder = self.folder / f"raw-{until}-{hash(factors)}"
        folder.mkdir(exist_ok=True)
        tables = raw_tables(n_stores=3, n_families=3, n_days=DAYS, horizon=HORIZON)
        train, test = tables["train"], tables["test"]
        day = (train["date"] - train["date"].min()).dt.days
        for start, factor in factors:
            train.loc[day >= start, "sales"] = (train.loc[day >= start, "sales"] * factor).round()
        past = day < until
        ahead = pd.concat([train[~past].drop(columns="sales"), test])
        ahead = ahead[(ahead["date"] - train["date"].min()).dt.days < until + HORIZON]
        tables |= {"train": train[past], "test": ahead}
        last = train.loc[past, "date"].max()
        tables["transactions"] = tables["transactions"][tables["transactions"]["date"] <= last]
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%d")
        return str(folder)

    def policy(self, training: str = "tiny", approval: str = "automatic", shadow: int = 0) -> str:
        file = self.folder / f"policy-{training}-{approval}-{shadow}.yaml"
        training = str(self.folder / f"{training}.yaml")
        file.write_text(POLICY.format(training=training, approval=approval, shadow=shadow))
        return str(file)

    def train(self, until: int) -> None:
        training_flow("synthetic", self.raw(until), str(self.folder / "tiny.yaml"), str(self.home))

    def watch(self, raw: str, policy: str) -> list[Decision]:
        return watch_flow("synthetic", raw, policy, workspace=str(self.home))

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> DecisionLog:
        return DecisionLog(str(self.home), "synthetic")

    @property
    def releases(self) -> ReleaseStore:
        return ReleaseStore(DatasetStore(str(self.home)), "synthetic")

    @property
    def current(self) -> str:
        current = self.releases.current()
        assert current is not None
        return current.id


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def shop(prefect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.yaml").write_text(TRAINING)
    (tmp_path / "worse.yaml").write_text(WORSE)
    made = Shop(tmp_path)
    made.train(250)
    return made


def actions(decisions: list[Decision]) -> list[str]:
    return [decision.action for decision in decisions]


def test_a_shift_is_seen_learnt_and_released_and_what_turns_out_worse_is_taken_back(shop: Shop) -> None:
    first, policy = shop.current, shop.policy()

    quiet = shop.watch(shop.raw(253), policy)
    assert actions(quiet) == ["nothing", "refresh"]
    assert shop.releases.get(shop.current).about["fitted_to"] == shop.releases.get(first).about["fitted_to"]
    fresh = shop.current
    assert fresh != first
    assert shop.watch(shop.raw(253), policy) == [], "the same data again: nothing is decided, nothing is made"

    shift = (253, 4.0)
    shifted = shop.watch(shop.raw(285, shift), policy)
    assert actions(shifted) == ["train", "trained", "promote", "probed"]
    assert shifted[0].rule == "breach"
    assert "error" in {check.name for check in shifted[0].seen}
    assert shifted[1].outcome["promoted"]
    assert shifted[2].outcome == {"release": shop.current, "before": fresh}
    assert on_trial(shop.log.all()) == shifted[2]
    shop.releases.check(shop.releases.get(shop.current))

    back = shop.watch(shop.raw(292, shift, (285, 0.25)), shop.policy("worse"))
    assert "rollback" in actions(back)
    rolled = next(d for d in back if d.action == "rollback")
    assert rolled.outcome["newer"] > rolled.outcome["older"]
    current = shop.releases.get(shop.current)
    assert current.about["evaluation"] == shop.releases.get(fresh).about["evaluation"], "the model before"
    assert current.about["cutoff"] > shop.releases.get(fresh).about["cutoff"], "and from the newest data"
    shop.releases.check(current)
    assert json.loads((shop.releases.path(current) / "lineage.json").read_text())["refreshed"]


def test_a_challenger_that_is_no_better_is_refused_and_the_champion_goes_on(shop: Shop) -> None:
    made = shop.watch(shop.raw(285, (253, 4.0)), shop.policy("worse"))
    assert actions(made) == ["train", "trained", "reject"]
    assert "does not beat" in made[2].because
    current = shop.releases.get(shop.current)
    assert not current.about["promoted"]
    assert current.about["cutoff"] == made[0].as_of, "the champion forecasts from the new data"


def test_a_challenger_in_shadow_takes_over_after_its_days(shop: Shop) -> None:
    first, policy, shift = shop.current, shop.policy(shadow=4), (253, 4.0)
    made = shop.watch(shop.raw(285, shift), policy)
    assert actions(made) == ["train", "trained", "refresh"]
    challenger = made[1].outcome["shadow"]
    assert challenger
    assert not shop.releases.was_current(challenger)
    assert shop.releases.get(shop.current).about["evaluation"] == shop.releases.get(first).about["evaluation"]
    assert shop.watch(shop.raw(287, shift), policy)[0].action == "shadow"
    taken = shop.watch(shop.raw(289, shift), policy)
    assert taken[0].action == "promote"
    assert taken[0].outcome["newer"] < taken[0].outcome["older"]
    evaluation = shop.releases.get(challenger).about["evaluation"]
    assert shop.releases.get(shop.current).about["evaluation"] == evaluation


def test_a_manual_policy_waits_for_the_yes(shop: Shop) -> None:
    policy = shop.policy(approval="manual")
    made = shop.watch(shop.raw(284, (253, 4.0)), policy)
    assert actions(made) == ["ask", "refresh"]
    (question,) = pending(shop.log.all())
    shop.log.record(question.next("approve", "approval", "yes", pd.Timestamp.now("UTC").to_pydatetime()))
    done = shop.watch(shop.raw(285, (253, 4.0)), policy)
    assert actions(done)[:2] == ["train", "trained"]
    assert done[0].follows == question.id
