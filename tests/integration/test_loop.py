"""The loop for real, in process: actuals that shift, a breach, a training, a release, and the way back."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from prefect import flow
from typer.testing import CliRunner

from components import activate
from components.archive import Watched, apply
from pipelines import loop_records
from pipelines.cli import app
from pipelines.executor import Argument
from pipelines.loop import Watch, retrain_flow, watch_flow
from pipelines.loop_ground import Ground
from pipelines.loop_partitions import Partitions
from pipelines.steps import Outcome
from pipelines.training import training_flow
from storecast.actuals import Actuals
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.errors import DataError
from storecast.loop.decisions import Decision, DecisionLog
from storecast.loop.state import on_trial
from storecast.monitor.health import Health
from storecast.store.datasets import DatasetStore
from storecast.store.releases import CHECKSUMS, Release, ReleaseStore
from storecast.store.retention import RetentionPolicy, Rule, plan
from storecast.synthetic import raw_tables, write_raw

DAYS, HORIZON = 300, 16
MODEL = """
name: gbm
class: storecast.models.gbm:Gbm
params:
  boosters:
    - {{window_days: 200, step_days: 10, rounds: {rounds}, learning_rate: 0.2, leaves: 6, min_rows: 40}}
  spread_rounds: 2
"""
TRAINING = "name: {name}\nmodels: [naive, {model}]\nfolds: 1\ngate: {{segments: []}}\n"
WORSE = "name: worse\nmodels: [naive]\nfolds: 1\ngate: {segments: []}\n"
BROKEN = """
from storecast.models.base import FitContext
from storecast.models.naive import SeasonalNaive
from storecast.panel import Panel


class Broken(SeasonalNaive):
    def fit(self, panel: Panel, context: FitContext) -> None:
        raise RuntimeError("out of order")
"""
POLICY = """
name: eager
training: {training}
every_days: 0
consecutive: 1
hold: []
cooldown_days: 0
budget: {{runs: 9}}
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
        tables = raw_tables(n_stores=5, n_families=3, n_days=DAYS, horizon=HORIZON)
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

    def arrive(self, start: int, until: int) -> None:
        """Take the sales of the days from `start` to `until`, and the plan of those that follow."""
        raw = Path(self.raw(until))
        train = pd.read_csv(raw / "train.csv", parse_dates=["date"])
        day = (train["date"] - train["date"].min()).dt.days
        train[day >= start].to_csv(self.folder / "train-new.csv", index=False, date_format="%Y-%m-%d")
        shutil.copy(raw / "test.csv", self.folder / "test-new.csv")
        actuals = Actuals(str(self.home), load_dataset_config(config_file("synthetic", "datasets")))
        for name in ("train-new.csv", "test-new.csv"):
            assert actuals.add(str(self.folder / name)).status == "taken"

    def policy(self, training: str = "better", shadow: int = 0) -> str:
        file = self.folder / f"policy-{training}-{shadow}.yaml"
        training = str(self.folder / f"{training}.yaml")
        file.write_text(POLICY.format(training=training, shadow=shadow))
        return str(file)

    def train(self, until: int) -> Outcome:
        return training_flow("synthetic", self.raw(until), str(self.folder / "first.yaml"), str(self.home))

    def watch(self, raw: str, policy: str) -> list[Decision]:
        return watch_flow("synthetic", raw, policy, workspace=str(self.home))

    def another(self, name: str) -> Release:
        """A release of a model of its own, fitted to the same data as the current one."""
        current = self.releases.get(self.current)
        folder = self.folder / name
        shutil.copytree(self.releases.path(current), folder, ignore=shutil.ignore_patterns(CHECKSUMS))
        return self.releases.publish(folder, {**current.about, "evaluation": name})

    def remember(self, first: str, *following: str, **outcome: str) -> None:
        """Record decisions, each on the one before, the last with what it came to."""
        health = Health("synthetic", self.current, "2013-01-01", ())
        chain = [Decision.of(health, first, "breach", "why", datetime.now(UTC))]
        for action in following:
            chain.append(chain[-1].next(action, "gate", "why", datetime.now(UTC)))
        for decision in [*chain[:-1], chain[-1].with_outcome(outcome)]:
            self.log.record(decision)

    def forget(self) -> set[str]:
        """Delete all that retention may, as if years had passed; what that was."""
        everything = ("datasets/*/*", "releases/*/*", "loop/*/decisions/*")
        rules = RetentionPolicy(kinds={"all": Rule(paths=everything, days=1, then="delete")})
        store = DatasetStore(str(self.home))
        watched = Watched(store)
        steps = plan(store, rules, watched.held, datetime.now(UTC) + timedelta(days=999))
        going = [step for step in steps if step.action != "keep"]
        apply(store, rules, going, watched)
        return {step.item.name for step in going}

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
def trained(prefect_api: None, empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a release, and a Prefect API."""
    made = Shop(tmp_path_factory.mktemp("shop"))
    shutil.copytree(empty_home, made.home)
    for name, rounds in (("first", 2), ("better", 4)):
        model = made.folder / f"gbm-{name}.yaml"
        model.write_text(MODEL.format(rounds=rounds))
        (made.folder / f"{name}.yaml").write_text(TRAINING.format(name=name, model=model))
    (made.folder / "worse.yaml").write_text(WORSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORECAST_HOME", str(made.home))
        made.train(250)
        yield made


@pytest.fixture
def shop(trained: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A copy of it to go on with."""
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    return Shop(tmp_path)


def actions(decisions: list[Decision]) -> list[str]:
    return [decision.action for decision in decisions]


def test_a_shift_is_seen_learnt_and_released_and_what_turns_out_worse_is_taken_back(shop: Shop) -> None:
    first, policy = shop.current, shop.policy()

    quiet = shop.watch(shop.raw(253), policy)
    assert actions(quiet) == ["nothing", "refresh"]
    assert shop.releases.get(shop.current).about["fitted_to"] == shop.releases.get(first).about["fitted_to"]
    fresh = shop.current
    assert fresh != first
    lineage = json.loads((shop.releases.path(shop.releases.get(fresh)) / "lineage.json").read_text())
    assert lineage["refreshed"] == first
    assert shop.watch(shop.raw(253), policy) == [], "the same data again: nothing is decided, nothing is made"

    shift = (253, 4.0)
    shifted = shop.watch(shop.raw(285, shift), policy)
    assert actions(shifted) == ["train", "trained", "promote", "probed"]
    assert shifted[0].rule == "breach"
    assert "bias" in {check.name for check in shifted[0].seen}
    assert shifted[1].outcome["promoted"]
    assert shifted[2].outcome == {"release": shop.current, "before": fresh}
    assert on_trial(shop.log.all()) == shifted[2]
    shop.releases.check(shop.releases.get(shop.current))

    back = shop.watch(shop.raw(292, shift, (285, 0.25)), shop.policy("worse"))
    assert "rollback" in actions(back)
    rolled = next(d for d in back if d.action == "rollback")
    assert rolled.outcome["newer"] > rolled.outcome["older"]
    current = shop.releases.get(shop.current)
    assert current.about["fitted_to"] == shop.releases.get(fresh).about["fitted_to"], "the model before"
    assert current.about["cutoff"] > shop.releases.get(fresh).about["cutoff"], "and from the newest data"
    shop.releases.check(current)


def test_a_challenger_that_is_no_better_is_refused_and_the_champion_goes_on(shop: Shop) -> None:
    made = shop.watch(shop.raw(285, (253, 4.0)), shop.policy("worse"))
    assert actions(made) == ["train", "trained", "reject"]
    assert "ties with the seasonal naive" in made[2].because
    current = shop.releases.get(shop.current)
    assert not current.about["promoted"]
    assert current.about["cutoff"] == made[0].as_of, "the champion forecasts from the new data"


def test_a_training_that_breaks_is_recorded_as_failed_and_the_forecast_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.folder / "broken_model.py").write_text(BROKEN)
    (shop.folder / "broken.yaml").write_text("name: broken\nclass: broken_model:Broken\n")
    training = TRAINING.format(name="hopeless", model=shop.folder / "broken.yaml")
    (shop.folder / "hopeless.yaml").write_text(training)
    monkeypatch.syspath_prepend(str(shop.folder))
    first, policy, raw = shop.current, shop.policy("hopeless"), shop.raw(285, (253, 4.0))
    with pytest.raises(RuntimeError, match="out of order"):
        shop.watch(raw, policy)
    assert actions(shop.log.all()) == ["train", "failed", "refresh"]
    assert shop.log.all()[1].because == "RuntimeError: out of order"
    assert shop.releases.get(shop.current).about["champion"] == first
    assert shop.releases.get(shop.current).about["cutoff"] == shop.log.all()[0].as_of


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "in partitions"])
def test_a_pass_that_fails_is_recorded_and_told_once_until_it_succeeds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    told = []
    monkeypatch.setattr(loop_records, "emit_event", lambda event, *_, payload: told.append((event, payload)))
    broken = Path(shop.raw(253))
    train = pd.read_csv(broken / "train.csv")
    train.rename(columns={"sales": "turnover"}).to_csv(broken / "train.csv", index=False)
    ground = Watch("synthetic", str(broken), shop.policy(), str(shop.home), None)
    parts = Partitions(ground, lambda *_: [], 1)
    one_pass = flow(parts.run) if cut else lambda: shop.watch(str(broken), shop.policy())
    for _ in range(2):
        with pytest.raises(DataError, match="sales"):
            one_pass()
    (failed,) = shop.log.all()
    assert (failed.action, failed.rule, failed.follows) == ("failed", "pass", "")
    assert "sales" in failed.because
    assert [(event, payload["id"]) for event, payload in told] == [("storecast.failure", failed.id)]
    shop.raw(253)
    assert actions(shop.watch(str(broken), shop.policy())) == ["nothing", "refresh"]


def test_a_training_that_was_decided_on_a_platform_is_asked_for_until_it_has_ended(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def emitted(event: str, resource: object, payload: dict[str, str]) -> None:
        if event == loop_records.RETRAIN:
            asked.append(payload)

    monkeypatch.setattr(loop_records, "emit_event", emitted)
    named = ("synthetic", shop.raw(285, (253, 4.0)), shop.policy("worse"), str(shop.home))
    decided = watch_flow(*named, by_event=True)[0]
    assert decided.action == "train"
    watch_flow(*named, by_event=True)
    assert [payload.pop("decision") for payload in asked] == [decided.id, decided.id]
    assert actions(retrain_flow(decided.id, **asked[0])) == ["trained", "reject"]
    assert retrain_flow(decided.id, **asked[1]) == [], "it has ended"
    watch_flow(*named, by_event=True)
    assert len(asked) == 2


def test_new_data_make_a_new_release_and_rollback_returns_to_the_old_one(shop: Shop) -> None:
    def releases(*words: str) -> None:
        done = CliRunner().invoke(app, ["releases", *words])
        assert done.exit_code == 0, done.output

    old = shop.current
    shop.train(257)
    new = shop.current
    assert new != old
    releases("rollback")
    assert shop.current == old
    shop.train(257)
    assert shop.current == old, "a rerun must not undo a rollback"
    releases("activate", new)
    assert shop.current == new


def test_a_run_by_hand_learns_from_what_has_arrived(shop: Shop) -> None:
    shop.arrive(250, 253)
    shop.watch(shop.raw(250), shop.policy())
    arrived = shop.releases.get(shop.current).about["cutoff"]
    outcome = shop.train(250)
    assert outcome.panel.counts["arrivals"] == 2
    assert shop.releases.get(shop.current).about["cutoff"] == arrived


def test_neither_a_run_nor_a_pass_over_older_data_takes_the_forecast_back_in_time(shop: Shop) -> None:
    newest = shop.current
    outcome = shop.train(247)
    assert outcome.made is not None
    assert shop.current == newest
    assert f"before those of the current release {newest}, which stays" in outcome.behind
    assert activate.run(outcome.made.uri, once=True).id == newest
    assert actions(shop.watch(shop.raw(247), shop.policy())) == ["nothing"]
    assert shop.current == newest
    assert activate.run(outcome.made.uri).id == outcome.made.id, "people may go back"


def test_data_that_end_before_the_champions_are_refused_with_what_to_do(shop: Shop) -> None:
    with pytest.raises(DataError, match="share no series and day") as told:
        shop.train(210)
    assert "train on newer data" in str(told.value)


def test_a_champion_is_compared_on_a_panel_that_has_more_series_than_it_knows(
    shop: Shop, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    write_raw(more, n_stores=6, n_families=4, n_days=DAYS)
    outcome = training_flow("synthetic", str(more), str(shop.folder / "better.yaml"), str(shop.home))
    told = json.loads((Path(outcome.decision.uri) / "decision.json").read_text())
    assert told["champion"] == "champion"
    assert {line["against"] for line in told["comparisons"]} == {"champion", "naive"}


def test_a_persons_model_of_the_same_day_is_not_judged_for_the_release_it_took_the_place_of(
    shop: Shop,
) -> None:
    before, chosen = shop.current, shop.another("chosen")
    shop.remember("promote", release=shop.another("tried").id, before=before)
    trial = on_trial(shop.log.all())
    shop.releases.activate(chosen.id, "by hand")
    assert actions(shop.watch(shop.raw(257), shop.policy())) == ["nothing", "refresh"]
    assert on_trial(shop.log.all()) == trial, "it is neither kept nor taken back"
    assert shop.releases.get(shop.current).about["evaluation"] == "chosen"


def test_a_challenger_in_shadow_takes_over_after_its_days(shop: Shop) -> None:
    first, policy, shift = shop.current, shop.policy(shadow=4), (253, 4.0)
    made = shop.watch(shop.raw(285, shift), policy)
    assert actions(made) == ["train", "trained", "refresh"]
    challenger = made[1].outcome["shadow"]
    assert challenger
    assert not shop.releases.was_current(challenger)
    assert shop.releases.get(shop.current).about["fitted_to"] == shop.releases.get(first).about["fitted_to"]
    gone = shop.forget()
    assert any(name.startswith("datasets/monitor/") for name in gone), "what nobody needs goes"
    assert shop.watch(shop.raw(287, shift), policy)[0].action == "shadow", "what the shadow needs is there"
    taken = shop.watch(shop.raw(289, shift), policy)
    assert taken[0].action == "promote"
    assert taken[0].outcome["newer"] < taken[0].outcome["older"]
    fitted_to = shop.releases.get(challenger).about["fitted_to"]
    assert shop.releases.get(shop.current).about["fitted_to"] == fitted_to


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a service says of the releases that it refuses."""
    told: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"dataset": "synthetic", "id": "old", "refused": told}).encode())

        def log_message(self, *what: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORECAST_SERVING_URL", f"http://127.0.0.1:{server.server_port}")
        yield told
        server.shutdown()


def test_a_challenger_out_of_shadow_that_the_service_refuses_is_taken_back(
    shop: Shop, refused: dict[str, str]
) -> None:
    first, policy, shift = shop.releases.get(shop.current), shop.policy(shadow=4), (253, 4.0)
    challenger = shop.watch(shop.raw(285, shift), policy)[1].outcome["shadow"]
    refused[challenger] = "its model disagrees with its forecasts"
    champion = shop.current
    taken = shop.watch(shop.raw(289, shift), policy)
    assert actions(taken)[:3] == ["promote", "probed", "rollback"]
    assert taken[2].outcome["release"] == champion
    assert "disagrees" in taken[2].because
    assert on_trial(shop.log.all()) is None
    assert shop.releases.get(shop.current).about["fitted_to"] == first.about["fitted_to"]


def test_a_release_of_all_partitions_that_the_service_refuses_is_taken_back_and_people_are_told(
    shop: Shop, refused: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(loop_records, "tell", lambda _, decision, topic: told.append((topic, decision)))
    before, joined = shop.releases.get(shop.current), shop.another("joined")
    shop.releases.activate(joined.id, "the partitions' current releases")
    refused[joined.id] = "a model is missing"
    whole = Partitions(Watch("synthetic", "", shop.policy(), str(shop.home), None), lambda *_: [], 1)
    made = flow(whole._served_or_back)(joined, before)
    assert actions(made) == ["probed", "rollback"]
    assert shop.log.all() == made
    assert told == [("rollback", made[1])]
    assert "a model is missing" in made[1].because
    assert shop.current == before.id


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        ("shadow", ["nothing", "refresh"]),
        ("activate", ["promote", "probed", "nothing", "refresh"]),
        ("refresh", ["promote", "probed", "rollback", "nothing"]),
    ],
)
def test_what_a_person_makes_current_while_a_pass_works_stays(
    shop: Shop, refused: dict[str, str], monkeypatch: pytest.MonkeyPatch, stage: str, done: list[str]
) -> None:
    first, challenger, chosen = shop.current, shop.another("challenger"), shop.another("chosen")
    shop.remember("train", "trained", shadow=challenger.id)
    refused[challenger.id] = "its model disagrees with its forecasts"
    made = Ground.made

    def and_a_person(ground: Ground, name: str, arguments: Mapping[str, Argument]) -> str:
        uri = made(ground, name, arguments)
        if name == stage and not shop.releases.was_current(chosen.id):
            shop.releases.activate(chosen.id, "by hand")
        return uri

    monkeypatch.setattr(Ground, "made", and_a_person)
    raw, policy = shop.raw(257), shop.policy(shadow=4)
    assert actions(shop.watch(raw, policy)) == done
    assert shop.releases.get(shop.current).about["evaluation"] == "chosen"
    assert first in shop.releases.trail()
    if "refresh" not in done:
        assert shop.current == chosen.id
        assert actions(shop.watch(raw, policy)) == ["refresh"], "the next pass makes its forecast anew"


def test_a_pass_that_was_killed_after_it_had_released_knows_the_release_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, policy, raw = shop.current, shop.policy(), shop.raw(285, (253, 4.0))

    def killed(decision: Decision, *rest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Decision, "next", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.watch(raw, policy)
    assert actions(shop.log.all()) == ["train"]
    assert shop.current != first
    made = shop.watch(raw, policy)
    promoted = next(decision for decision in made if decision.action == "promote")
    assert promoted.outcome == {"release": shop.current, "before": first}
