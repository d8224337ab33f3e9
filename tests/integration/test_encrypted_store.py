"""A whole run with store keys: no Parquet file of the workspace is plain, and all that reads them goes on."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import streamlit as st
from staged import TRAINING, drop_last_days, release_of
from typer.testing import CliRunner

from components import ingest, monitor, refresh, stage, train
from components.stage import open_panel, open_store
from dashboard import history, released
from pipelines.cli import app
from serving import prepare
from serving.table import ReleaseTable
from storecast.errors import StoreError
from storecast.settings import explain_settings, load_settings
from storecast.store import keyring, parquet
from storecast.store.releases import Release
from storecast.synthetic import write_raw


@dataclass(frozen=True)
class Shop:
    """A shop whose first release was made, and monitored on later sales, with a key."""

    folder: Path
    release: Release

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def enter(self, patch: pytest.MonkeyPatch, *, key: bool = True) -> None:
        """The settings of its people, with the key or without."""
        patch.chdir(self.folder)
        patch.setenv("STORECAST_HOME", str(self.home))
        patch.delenv("STORECAST_STORE_KEY_FILE", raising=False)
        if key:
            patch.setenv("STORECAST_STORE_KEY_FILE", str(self.folder / "keys.txt"))
        load_settings()


@pytest.fixture(scope="module")
def shop(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("locked")
    shutil.copytree(empty_home, folder / "home")
    (folder / "keys.txt").write_text(f"first:{base64.b64encode(os.urandom(32)).decode()}\n")
    (folder / "two.yaml").write_text(TRAINING)
    for name in ("early", "late"):
        write_raw(folder / name, n_stores=3, n_families=3, n_days=300)
    drop_last_days(folder / "early", 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STORECAST_HOME", str(folder / "home"))
        patch.setenv("STORECAST_STORE_KEY_FILE", str(folder / "keys.txt"))
        release, _ = release_of(folder, "early", "current")
        late = ingest.run("synthetic", str(folder / "late"))
        monitor.run(late.uri, as_of="2023-08-01")
        refresh.run(late.uri)
    yield Shop(folder, release)


@pytest.fixture(autouse=True)
def _no_keys_afterwards() -> Iterator[None]:
    yield
    keyring.use(None)


def test_no_parquet_file_is_plain_and_none_shows_a_family(shop: Shop) -> None:
    files = {path: path.read_bytes() for path in shop.home.rglob("*") if path.is_file()}
    assert [path for path, content in files.items() if content.startswith(b"PAR1")] == []
    locked = {path for path, content in files.items() if content.startswith(b"PARE")}
    assert locked == {path for path in files if path.suffix == ".parquet"}
    folders = {path.relative_to(shop.home).parts[:2] for path in locked}
    stages = ("ingest", "features", "train", "evaluate", "gate", "forecast", "monitor")
    assert folders >= {("datasets", stage) for stage in stages} | {("releases", "synthetic")}
    assert any(folder == "mlartifacts" for folder, _ in folders)
    families = pd.read_csv(shop.folder / "early" / "train.csv")["family"].unique()
    assert not [path for path in locked for family in families if family.encode() in files[path]]


def test_a_rerun_finds_all_that_was_made(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.enter(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in shop.home.rglob("*.parquet")}
    again, _ = release_of(shop.folder, "early", "current")
    assert again.id == shop.release.id
    assert {path: path.stat().st_mtime_ns for path in shop.home.rglob("*.parquet")} == before


def test_the_processes_that_fit_shards_find_the_key(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.enter(monkeypatch)
    monkeypatch.setattr(train, "WORTH_PROCESSES", 0)
    training = "name: shards\nmodels: [naive, arima]\nprofile: smoke\nfolds: 1\nshard_size: 5\n"
    (shop.folder / "shards.yaml").write_text(training)
    panel = str(next(shop.home.glob("datasets/ingest/*")))
    fit = train.run(panel, "arima", "last", "shards.yaml")
    shards = list(shop.home.glob("datasets/train-shard/*/forecast.parquet"))
    assert [path.read_bytes()[:4] for path in shards] == [b"PARE", b"PARE"]
    forecast = parquet.read_frame(open_store().path(fit) / "forecast.parquet")
    assert forecast["unique_id"].nunique() == 9


def test_the_service_lays_a_release_out_and_reads_its_model(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.enter(monkeypatch)
    local = shop.folder / "serving" / "synthetic"
    table = ReleaseTable.open(prepare.aside(str(shop.home), local, shop.release.id))
    assert len(table.names) == 9
    contexts = [path.read_bytes()[:4] for path in local.rglob("*.parquet")]
    assert contexts
    assert set(contexts) == {b"PARE"}
    monkeypatch.delenv("STORECAST_STORE_KEY_FILE")
    with pytest.raises(OSError, match="without them nothing opens it"):
        prepare.aside(str(shop.home), shop.folder / "other" / "synthetic", shop.release.id)


def test_the_registered_champion_loads(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.enter(monkeypatch)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{shop.home / 'mlflow.db'}")
    try:
        model = mlflow.pyfunc.load_model("models:/storecast-synthetic@champion")
    finally:
        mlflow.set_tracking_uri(before)
    day = pd.Timestamp(shop.release.about["cutoff"]) + pd.Timedelta(days=1)
    asked = pd.DataFrame({"store_nbr": ["1"], "family": ["GROCERY"], "ds": [day]})
    assert (model.predict(asked)["yhat"] >= 0).all()


def test_verify_and_export_go_on_and_an_export_is_plain(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.enter(monkeypatch)
    run = CliRunner()
    assert "as it was released" in run.invoke(app, ["releases", "verify"], catch_exceptions=False).output
    run.invoke(app, ["export", "--out", "exports/out.parquet"], catch_exceptions=False)
    assert len(pd.read_parquet(shop.folder / "exports" / "out.parquet")) == 9 * 16
    shown = {name: value for name, value, _ in explain_settings()}["store_key_file"]
    assert "keys first open, and plain files are read, too" in shown


def test_the_dashboard_reads_releases_and_panels(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.enter(monkeypatch)
    st.cache_data.clear()
    st.cache_resource.clear()
    assert len(released.table(shop.release.uri, "forecasts")) == 9 * 16
    panel = released.panel(shop.release.uri)
    assert history.column(panel.folder, "y").shape[0] == len(panel.static) == 9
    assert len(released.all_models(shop.release.uri))


def test_without_the_key_the_first_stage_that_reads_says_what_is_missing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.enter(monkeypatch, key=False)
    stage._read.cache_clear()
    with pytest.raises(StoreError, match="STORECAST_STORE_KEY_FILE"):
        open_panel(open_store(), str(next(shop.home.glob("datasets/ingest/*"))))
