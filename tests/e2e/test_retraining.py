"""The loop on the cluster, once around: sales that shift are seen, learnt, released, served and shown.

After that they shift back, and a challenger that is no better is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml
from cluster import RELEASE, RELEASES, ROOT, Platform, until

from storecast.synthetic import raw_tables

RUN_SECONDS = 900.0
BUCKET = "storecast"
RAW, CONFIGS = f"{BUCKET}/raw/shop", f"{BUCKET}/configs/loop"
DECISIONS = f"{BUCKET}/storecast/loop/synthetic/decisions"
DAYS = 310
SIZES = {"n_stores": 5, "n_families": 3, "n_days": DAYS}
FIRST, SECOND, THIRD = 250, 285, 301
"""Days of sales that are known at the start, after the first delivery and after the second."""
SHIFT = 4.0
SCREENS = ROOT / "build" / "screens"


def boosting(rounds: int) -> dict[str, object]:
    """A model config that is fitted in a moment."""
    booster = {"window_days": 200, "step_days": 10, "rounds": rounds, "learning_rate": 0.2}
    params = {"boosters": [{**booster, "leaves": 6, "min_rows": 40}], "spread_rounds": 2}
    return {"name": "gbm", "class": "storecast.models.gbm:Gbm", "params": params}


@dataclass(frozen=True)
class Shop:
    """A retailer whose sales are `SHIFT` times as high from day `FIRST` to `SECOND`, and its platform."""

    platform: Platform
    tables: Mapping[str, pd.DataFrame]
    service: httpx.Client

    @classmethod
    def opened(cls, platform: Platform, service: httpx.Client) -> Shop:
        """The shop with its sales of all days."""
        tables = raw_tables(**SIZES)
        day = (tables["train"]["date"] - tables["train"]["date"].min()).dt.days
        sales = tables["train"]["sales"]
        shifted = sales.where(~day.between(FIRST, SECOND - 1), (sales * SHIFT).round())
        return cls(platform, {**tables, "train": tables["train"].assign(sales=shifted, day=day)}, service)

    def raw_files(self) -> dict[str, str]:
        """The first days as CSV files, with the promotions that are planned after them."""
        train = self.tables["train"]
        known = train[train["day"] < FIRST].drop(columns="day")
        counts = self.tables["transactions"]
        frames = {
            "train": known,
            "test": self.planned(FIRST),
            "stores": self.tables["stores"],
            "holidays_events": self.tables["holidays_events"],
            "transactions": counts[counts["date"] <= known["date"].max()],
        }
        return {
            f"{name}.csv": frame.to_csv(index=False, date_format="%Y-%m-%d") for name, frame in frames.items()
        }

    def planned(self, start: int) -> pd.DataFrame:
        """The plan for the sixteen days from `start` on."""
        test = self.tables["test"].assign(day=lambda rows: rows["date"].rank(method="dense") + DAYS - 1)
        days = pd.concat([self.tables["train"].drop(columns="sales"), test])
        return days[(days["day"] >= start) & (days["day"] < start + 16)].drop(columns="day")

    def hand_in(self, start: int, end: int) -> None:
        """The sales of days `start` to before `end`, and the plan from there on, by the service."""
        train = self.tables["train"]
        sold = train[(train["day"] >= start) & (train["day"] < end)].drop(columns="day")
        for name, frame in (("train.csv", sold), ("test.csv", self.planned(end))):
            body = {"rows": json.loads(_dated(frame).to_json(orient="records")), "table": name}
            self.service.post("/v1/actuals", json=body).raise_for_status()

    def one_pass(self, policy: str) -> list[dict[str, Any]]:
        """A pass of the loop, and the training that its event has started; what was decided."""
        before = {decision["id"] for decision in self.decisions()}
        given = {"dataset": "synthetic", "data": f"s3://{RAW}", "policy": f"s3://{CONFIGS}/{policy}.yaml"}
        self.platform.completed(self.platform.start("watch", **given), RUN_SECONDS)
        [train] = [d for d in self.decisions() if d["id"] not in before and d["action"] == "train"]
        started = until("the training that the event asks for", lambda: self._run(train["id"]), 120)
        self.platform.completed(started, RUN_SECONDS)
        return [decision for decision in self.decisions() if decision["id"] not in before]

    def _run(self, decision: str) -> str:
        wanted = {"flow_runs": {"name": {"any_": [f"training for {decision}"]}}}
        found = self.platform.api("POST", "/flow_runs/filter", wanted)
        return str(found[0]["id"]) if found else ""

    def decisions(self) -> list[dict[str, Any]]:
        """What the loop has decided, in turn."""
        with self.platform.store() as files:
            found = [json.loads(files.read(path)) for path in files.find(DECISIONS)]
        return sorted(found, key=lambda decision: str(decision["at"]))

    def current(self) -> dict[str, Any]:
        """The current release, as its own file tells it."""
        with self.platform.store() as files:
            release = json.loads(files.read(f"{RELEASES}/current.json"))["current"]
            about: dict[str, Any] = json.loads(files.read(f"{RELEASES}/{release}/release.json"))
        return {**about, "id": release}

    def serves(self, release: str) -> bool:
        """Whether the service answers from a release."""
        return bool(self.service.get("/v1/releases/current").json().get("id") == release)


@pytest.fixture(scope="module")
def shop(platform: Platform) -> Iterator[Shop]:
    """The shop with a release of its first days, in use."""
    with platform.service() as service:
        made = Shop.opened(platform, service)
        _write_configs(platform, made)
        with platform.timeline.step("a training run, for the loop to look after"):
            given = {
                "dataset": "synthetic",
                "data": f"s3://{RAW}",
                "training": f"s3://{CONFIGS}/first-training.yaml",
            }
            platform.completed(platform.start("train", **given), RUN_SECONDS)
        until("the shop's release in use", lambda: made.serves(made.current()["id"]), 60)
        yield made


def _write_configs(platform: Platform, shop: Shop) -> None:
    """The shop's files and configs in the store, and no champion from another retailer's sales."""
    with platform.store() as files:
        if files.find(f"{RELEASES}/current.json"):
            files.fs.rm_file(f"{RELEASES}/current.json")
        for name, text in shop.raw_files().items():
            files.write(f"{RAW}/{name}", text)
        for name, models in {"first": 2, "better": 4, "worse": None}.items():
            others = [f"s3://{CONFIGS}/gbm-{name}.yaml"] if models else []
            training = {"name": name, "models": ["naive", *others], "folds": 1, "gate": {"segments": []}}
            policy = {
                "name": name,
                "training": f"s3://{CONFIGS}/{name}-training.yaml",
                "every_days": 0,
                "consecutive": 1,
                "hold": [],
                "cooldown_days": 0,
                "budget": {"runs": 9},
                "rollback": None,
            }
            if models:
                files.write(f"{CONFIGS}/gbm-{name}.yaml", yaml.safe_dump(boosting(models)))
            files.write(f"{CONFIGS}/{name}-training.yaml", yaml.safe_dump(training))
            files.write(f"{CONFIGS}/{name}.yaml", yaml.safe_dump(policy))


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d"))


def actions(decisions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What they come to, without the forecasts made anew meanwhile."""
    return [str(decision["action"]) for decision in decisions if decision["action"] != "refresh"]


def test_a_shift_is_learnt_on_the_pools_released_served_and_shown(shop: Shop) -> None:
    before = shop.current()
    shop.hand_in(FIRST, SECOND)
    with shop.platform.timeline.step("the loop: a breach, a training on the pools, a release that is served"):
        made = shop.one_pass("better")
    assert actions(made) == ["train", "trained", "promote", "probed"]
    assert made[0]["rule"] == "breach"
    assert "bias" in {check["name"] for check in made[0]["seen"]}
    [probed] = [decision for decision in made if decision["action"] == "probed"]
    assert probed["outcome"]["status"] == "serves"
    now = shop.current()
    assert now["id"] == probed["outcome"]["release"]
    assert now["fitted_to"] != before["fitted_to"], "another model"
    assert shop.serves(now["id"])
    _is_shown(shop.platform, now["id"])


def test_a_challenger_that_is_no_better_is_refused_and_the_champion_goes_on(shop: Shop) -> None:
    before = shop.current()
    shop.hand_in(SECOND, THIRD)
    with shop.platform.timeline.step("the loop: sales that shift back, a breach, a challenger refused"):
        made = shop.one_pass("worse")
    assert actions(made) == ["train", "trained", "reject"]
    now = shop.current()
    assert now["fitted_to"] == before["fitted_to"], "the champion's model"
    assert now["cutoff"] > before["cutoff"], "and the new sales"


def _is_shown(platform: Platform, release: str) -> None:
    """The dashboard's first page says that the release is served, and the next what the loop has done."""
    from playwright.sync_api import expect, sync_playwright

    password = platform.secret(f"{RELEASE}-dashboard-admin", "password")
    with platform.forwarded(f"{RELEASE}-dashboard", 8501) as address, sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(address)
        page.get_by_role("textbox", name="Name").fill("admin")
        page.get_by_role("textbox", name="Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        served = page.get_by_test_id("stMetric").filter(has_text="Served")
        expect(served).to_contain_text(release)
        expect(served).to_contain_text("yes")
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / "loop-on-kind-overview.png")
        page.get_by_role("link", name="Monitoring").click()
        page.get_by_role("tab", name="Decisions").click()
        page.wait_for_timeout(2_000)
        page.screenshot(path=SCREENS / "loop-on-kind-decisions.png")
        browser.close()
