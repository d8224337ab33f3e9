"""Panels of weeks and of months, from files to a release, through the loop, and in a replay."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from components.stage import open_store
from pipelines.cli import app
from pipelines.loop import watch_flow
from pipelines.training import training_flow
from storecast.metrics import QUANTILE_COLUMNS
from storecast.store.releases import ReleaseStore

DATES, HORIZON = 70, 4
DATASET = (
    "name: shops\nfreq: {}\nhorizon: {}\ntrain: sales.csv\ndate: ds\ntarget: units\nkeys: [shop, family]\n"
)
TRAINING = "name: few\nmodels: [naive, arima]\nfolds: 2\ngate: {segments: []}\n"
POLICY = "name: eager\ntraining: {}\nevery_days: 0\nconsecutive: 1\nhold: []\n"


@dataclass(frozen=True)
class Shop:
    """A retailer that counts by week or by month."""

    folder: Path
    freq: str

    @property
    def dataset(self) -> str:
        return str(self.folder / "shops.yaml")

    @property
    def dates(self) -> pd.DatetimeIndex:
        return pd.date_range("2018-01-07", periods=DATES, freq=self.freq)

    def raw(self, until: int) -> str:
        """The first so many dates of its sales."""
        dates, rng, parts = self.dates, np.random.default_rng(0), []
        season = 0.4 * np.sin(2 * np.pi * np.asarray(dates.day_of_year) / 365.25)
        for shop in "abc":
            for family in ("bread", "tea"):
                units = rng.poisson(np.exp(rng.uniform(4, 6) + season + rng.normal(0, 0.05, DATES)))
                parts.append(pd.DataFrame({"ds": dates, "shop": shop, "family": family, "units": units}))
        folder = self.folder / f"raw-{until}"
        folder.mkdir(exist_ok=True)
        table = pd.concat(parts)
        table[table["ds"] < dates[until]].to_csv(folder / "sales.csv", index=False, date_format="%Y-%m-%d")
        return str(folder)


@pytest.fixture(scope="module", params=["W-WED", "MS"])
def shop(
    request: pytest.FixtureRequest,
    prefect_api: None,
    empty_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    made = Shop(tmp_path_factory.mktemp("shop"), request.param)
    shutil.copytree(empty_home, made.folder / "home")
    Path(made.dataset).write_text(DATASET.format(made.freq, HORIZON))
    (made.folder / "few.yaml").write_text(TRAINING)
    (made.folder / "eager.yaml").write_text(POLICY.format(made.folder / "few.yaml"))
    return made


@pytest.fixture(autouse=True)
def home(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(shop.folder / "home"))


def test_the_release_forecasts_the_next_dates_and_goes_on_when_they_have_come(shop: Shop) -> None:
    training_flow(shop.dataset, shop.raw(60), str(shop.folder / "few.yaml"))
    releases = ReleaseStore(open_store(), "shops")
    for until in (60, 62):
        if until > 60:
            done = watch_flow(shop.dataset, shop.raw(until), str(shop.folder / "eager.yaml"))
            assert [decision.action for decision in done] == ["nothing", "refresh"]
        current = releases.current()
        assert current is not None
        forecast = pd.read_parquet(Path(releases.path(current)) / "forecasts.parquet")
        assert sorted(forecast["ds"].unique()) == list(shop.dates[until : until + HORIZON])
        assert (forecast[QUANTILE_COLUMNS[-1]] > forecast[QUANTILE_COLUMNS[0]]).all()


def test_past_dates_are_replayed(shop: Shop) -> None:
    result = CliRunner().invoke(
        app,
        [
            *("replay", "--dataset", shop.dataset, "--data", shop.raw(66)),
            *("--profile", str(shop.folder / "few.yaml"), "--policy", str(shop.folder / "eager.yaml")),
            *("--from", str(shop.dates[50].date()), "--to", str(shop.dates[55].date())),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    summaries = list((shop.folder / "home").rglob("summary.json"))
    assert json.loads(summaries[0].read_text())["days"] == 6
