"""MLflow as people find it after a pipeline run: real SQLite, real files, a real fresh Python."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from components import mlflow_client, mlflow_database
from components import mlflow_registry as registry
from components import mlflow_tracking as tracking
from storecast.bundle import write_bundle
from storecast.conformal import Calibration
from storecast.errors import StoreError
from storecast.models.base import QUANTILES, FitContext
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.panel_io import write_panel
from storecast.settings import Settings
from storecast.synthetic import make_panel

ROOT = Path(__file__).parents[2]
KEYS = ("store_nbr", "family")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=2, n_families=2, n_days=120)


def make_bundle(folder: Path, panel: Panel, seasons: int = 4) -> Path:
    model = SeasonalNaive(NaiveConfig(seasons=seasons))
    model.fit(panel, FitContext())
    context = folder / "panel"
    context.mkdir(parents=True)
    write_panel(panel, context, keys=KEYS)
    plain = Calibration(QUANTILES, panel.horizon, 1, (1.0,) * len(QUANTILES), {}, {})
    about = {
        "dataset": "toy",
        "keys": KEYS,
        "separator": "|",
        "cutoff": str(panel.cutoff.date()),
        "horizon": 16,
    }
    write_bundle(folder / "bundle", model, plain, context, about)
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made"), panel)


def test_a_pipeline_run_shows_its_params_figures_tables_and_plots(settings: Settings, tmp_path: Path) -> None:
    plot = tmp_path / "forecast.png"
    plot.write_bytes(b"a picture")
    with tracking.run(settings, "toy", "a first run", "key-1") as run:
        run.params({"horizon": 16, "models": {"lstm": {"hidden": 64}}})
        run.tags({"data": "abc123"})
        for fold, rmsle in enumerate([0.5, 0.4]):
            run.metrics({"rmsle/naive": rmsle}, step=fold)
        run.table("comparison", pd.DataFrame({"model": ["naive"], "rmsle": [0.4]}))
        run.table("forecasts", pd.DataFrame({"yhat": range(6000)}))
        run.file(plot, "plots")

    data = run.client.get_run(run.id)
    assert data.info.run_name == "a first run"
    assert data.info.status == "FINISHED"
    assert data.data.params == {"horizon": "16", "models.lstm.hidden": "64"}
    assert data.data.tags["data"] == "abc123"
    assert [m.value for m in run.client.get_metric_history(run.id, "rmsle/naive")] == [0.5, 0.4]
    files = {f.path for folder in ("tables", "plots") for f in run.client.list_artifacts(run.id, folder)}
    assert files == {"tables/comparison.csv", "tables/forecasts.parquet", "plots/forecast.png"}
    lying_at = list(settings.home.glob(f"mlartifacts/{run.id}/artifacts/plots/forecast.png"))
    assert [path.read_bytes() for path in lying_at] == [b"a picture"]


def test_a_resumed_pipeline_goes_on_in_its_run_and_logs_nothing_twice(settings: Settings) -> None:
    def attempt(*, die: bool) -> tracking.TrackedRun:
        with tracking.run(settings, "toy", "resumed", "key-2") as run:
            run.params({"cores": 1 if die else 2})
            run.metrics({"rmsle/arima": 0.45}, step=1)
            if die:
                raise KeyboardInterrupt
        return run

    with pytest.raises(KeyboardInterrupt):
        attempt(die=True)
    run = attempt(die=False)

    found = run.client.search_runs([run.experiment_id], "attributes.run_name = 'resumed'")
    assert [r.info.run_id for r in found] == [run.id]
    assert found[0].info.status == "FINISHED"
    assert len(run.client.get_metric_history(run.id, "rmsle/arima")) == 1


def test_a_run_says_how_it_ended(settings: Settings) -> None:
    with (
        pytest.raises(ValueError, match="bad data"),
        tracking.run(settings, "toy", "fails", "key-3") as failed,
    ):
        raise ValueError("bad data")
    with pytest.raises(KeyboardInterrupt), tracking.run(settings, "toy", "stopped", "key-4") as stopped:
        raise KeyboardInterrupt
    assert failed.client.get_run(failed.id).info.status == "FAILED"
    assert stopped.client.get_run(stopped.id).info.status == "KILLED"


def test_a_bundle_is_registered_once_and_waits_as_challenger(
    settings: Settings, bundle: Path, panel: Panel, tmp_path: Path
) -> None:
    name = "storecast-once"
    with tracking.run(settings, "toy", "train", "key-5") as run:
        first = registry.register(run, bundle, name)
        assert registry.register(run, bundle, name) == first
        assert run.client.get_run(run.id).info.status == "RUNNING"
    assert registry.version_of(settings, name, registry.CHALLENGER) == first
    assert registry.version_of(settings, name) is None

    registry.promote(settings, name, first)
    with tracking.run(settings, "toy", "train again", "key-6") as run:
        second = registry.register(run, make_bundle(tmp_path, panel, seasons=5), name)
    assert second == first + 1
    assert registry.version_of(settings, name) == first
    assert registry.version_of(settings, name, registry.CHALLENGER) == second


def test_a_model_logged_by_an_attempt_that_died_is_taken_up(settings: Settings, bundle: Path) -> None:
    with tracking.run(settings, "other", "dies", "key-7") as run:
        registry.register(run, bundle, "storecast-lost")
        run.client.delete_registered_model("storecast-lost")
    with tracking.run(settings, "other", "dies", "key-7") as run:
        registry.register(run, bundle, "storecast-lost")
    assert len(run.client.search_logged_models([run.experiment_id])) == 1


PREDICT = """
import json, sys
import mlflow, pandas as pd
from storecast.errors import DataError

model = mlflow.pyfunc.load_model("models:/storecast-toy@champion")
rows = pd.read_json(sys.argv[1], dtype={"family": str}, convert_dates=["ds"])
answer = model.predict(rows)
promoted = model.predict(rows.assign(onpromotion=9))
try:
    model.predict(rows.assign(family="ICE"))
except DataError as error:
    refusal = str(error)
print(json.dumps({
    "columns": list(answer), "keys": answer["unique_id"].tolist(), "ahead": answer["h"].tolist(),
    "yhat": answer["yhat"].tolist(), "promoted": len(promoted), "refusal": refusal,
    "example": model.input_example is not None, "signature": str(model.metadata.signature.inputs),
}))
"""


def test_the_champion_forecasts_in_a_python_that_only_knows_the_tracking_uri(
    settings: Settings, bundle: Path, panel: Panel, tmp_path: Path
) -> None:
    with tracking.run(settings, "toy", "train", "key-8") as run:
        registry.promote(settings, "storecast-toy", registry.register(run, bundle, "storecast-toy"))
    days = [panel.future_dates[3], panel.future_dates[0]]
    rows = pd.DataFrame({"store_nbr": [2, 1], "family": ["PRODUCE", "GROCERY"], "ds": days})
    rows.to_json(tmp_path / "rows.json", date_format="iso")

    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": mlflow_client.tracking_uri(settings),
    }
    command = [sys.executable, "-c", PREDICT, str(tmp_path / "rows.json")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)

    expected = SeasonalNaive(NaiveConfig(seasons=4)).forecast(panel)
    assert answer["keys"] == ["2|PRODUCE", "1|GROCERY"]
    assert answer["ahead"] == [4, 1]
    position = {name: i for i, name in enumerate(panel.ids)}
    assert answer["yhat"] == pytest.approx(
        [expected.point[position["2|PRODUCE"], 3], expected.point[position["1|GROCERY"], 0]]
    )
    assert {"q0.025", "q0.975", "store_nbr", "family", "ds"} <= set(answer["columns"])
    assert answer["promoted"] == 2
    assert "unknown series" in answer["refusal"]
    assert "ICE" in answer["refusal"]
    assert answer["example"]
    assert "onpromotion" in answer["signature"]


def test_nothing_that_is_registered_needs_unpickling(settings: Settings, bundle: Path) -> None:
    with tracking.run(settings, "plain", "train", "key-9") as run:
        registry.register(run, bundle, "storecast-plain")
    model = run.client.search_logged_models([run.experiment_id])[0]
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert (folder / "MLmodel").is_file()
    assert "loader_module: components.mlflow_model" in (folder / "MLmodel").read_text()
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle"}]


def test_an_unreachable_server_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Settings(home=tmp_path, tracking_uri="http://anna:secret@127.0.0.1:9")
    with (
        pytest.raises(StoreError, match="tracking_uri") as caught,
        tracking.run(away, "toy", "lost", "key-10"),
    ):
        pass
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def some_tables(database: Path) -> bool:
    """Whether the database has tables, and is therefore on its way."""
    new = database.with_name("mlflow.db.new")
    return new.exists() and new.stat().st_size > 100_000


def test_a_first_run_killed_while_mlflow_makes_its_tables_does_not_stand_in_the_way_of_the_next(
    tmp_path: Path,
) -> None:
    home = Settings(home=tmp_path)
    database = mlflow_database.path(home)
    first = multiprocessing.get_context("spawn").Process(target=mlflow_database.make, args=(home,))
    first.start()
    deadline = time.monotonic() + 60
    while not some_tables(database):
        assert time.monotonic() < deadline
        assert first.is_alive()
        time.sleep(0.01)
    first.kill()
    first.join()
    assert not database.exists()
    assert registry.version_of(home, "none yet") is None
    assert not list(tmp_path.glob("mlflow.db?*"))


def test_first_runs_at_the_same_time_find_one_database(tmp_path: Path) -> None:
    home = Settings(home=tmp_path)
    code = (
        "import sys; from pathlib import Path; from components import mlflow_registry as t; "
        "from storecast.settings import Settings; print(t.version_of(Settings(home=Path(sys.argv[1])), 'x'))"
    )
    command = [sys.executable, "-c", code, str(home.home)]
    with ThreadPoolExecutor() as pool:
        said = pool.map(
            lambda _: subprocess.run(command, capture_output=True, text=True, check=False), range(3)
        )
    assert [done.stdout for done in said] == ["None\n"] * 3


def test_a_database_that_is_half_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = Settings(home=tmp_path)
    with sqlite3.connect(mlflow_database.path(home)) as database:
        database.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
        database.execute("CREATE TABLE datasets (key TEXT)")
    database.close()
    with pytest.raises(StoreError, match="move that file away"):
        registry.version_of(home, "x")
