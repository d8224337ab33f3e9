"""Tuning as people use it: killed and started again, side by side, on folds the backtest does not score."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lift
import pandas as pd
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.exc import ProgrammingError

from components import ingest, mlflow_client, tune, tune_report
from components.stage import open_store
from components.study import StudyPlace, place
from components.tuning import Tuning
from pipelines.pods import PodOptions
from pipelines.tuning import tuning_flow
from storecast.errors import ConfigError, ModelError, StoreError
from storecast.models.catalogue import load_spec
from storecast.settings import load_settings
from storecast.store.datasets import Dataset
from storecast.synthetic import write_raw
from storecast.training_config import load_training_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _place(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.chdir(tmp_path)
    lift.write(tmp_path)
    yield
    sys.modules.pop("lift_model", None)


def panel_of(folder: Path, days: int = 220) -> Dataset:
    write_raw(folder, n_stores=2, n_families=2, n_days=days)
    return ingest.run("synthetic", str(folder))


def tuned(panel: Dataset, trials: int = 6, **options: str) -> Dataset:
    return tune.run(panel.uri, "lift.yaml", "mine.yaml", "space.yaml", str(trials), **options)


def trials(made: Dataset) -> pd.DataFrame:
    return pd.read_parquet(open_store().path(made) / tune.TRIALS)


def measured(made: Dataset) -> list[tuple[float, float, str]]:
    table = trials(made)
    return list(zip(table["lift"], table["rmsle"], table["state"], strict=True))


def test_the_first_trial_is_the_model_as_it_is_and_the_best_beats_it(tmp_path: Path) -> None:
    made = tuned(panel_of(tmp_path / "raw"))
    table = trials(made)
    assert table["default"].tolist() == [True] + [False] * 5
    assert table["lift"].iloc[0] == 2.0
    assert made.counts["default"] == table["rmsle"].iloc[0]
    assert made.counts["rmsle"] < made.counts["default"]


def test_trials_that_do_worse_after_a_fold_are_given_up(tmp_path: Path) -> None:
    table = trials(tuned(panel_of(tmp_path / "raw"), 12))
    pruned = table[table["state"] == "pruned"]
    assert len(pruned) > 0
    assert (pruned["folds"] == 1).all()


def test_more_trials_go_on_where_the_study_stood_and_the_same_are_found(tmp_path: Path) -> None:
    panel = panel_of(tmp_path / "raw")
    few, more = tuned(panel, 3), tuned(panel, 5)
    assert measured(more)[:3] == measured(few)
    assert tuned(panel, 5).uri == more.uri


def test_what_the_backtest_scores_is_never_seen(tmp_path: Path) -> None:
    panel = panel_of(tmp_path / "raw")
    first = pd.read_csv(tmp_path / "raw" / "train.csv")
    days = sorted(first["date"].unique())
    late = first["date"] > days[-1 - 2 * 16]
    assert late.sum() == 2 * 16 * 4
    write_raw(tmp_path / "other", n_stores=2, n_families=2, n_days=220)
    first.assign(sales=first["sales"].where(~late, 10 * first["sales"] + 50)).to_csv(
        tmp_path / "other" / "train.csv", index=False
    )
    other = ingest.run("synthetic", str(tmp_path / "other"))
    assert other.hash != panel.hash
    assert measured(tuned(panel)) == measured(tuned(other))


def test_a_killed_tuning_goes_on_and_finds_what_an_unbroken_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_of(tmp_path / "raw")
    command = [sys.executable, "-m", "components.tune", "--panel", panel.uri, "--model", "lift.yaml"]
    command += ["--training", "mine.yaml", "--space", "space.yaml", "--trials", "6"]
    with_trap = {**os.environ, "TRAP": str(tmp_path / "trap")}
    killed = subprocess.run(command, env=with_trap, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    fits = int((tmp_path / "trap").read_text())
    again = subprocess.run(command, env=with_trap, capture_output=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr.decode()
    resumed = tuned(panel)
    assert int((tmp_path / "trap").read_text()) - fits <= 2 * 6 - 7 + 1, "what was fitted was fitted again"

    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "elsewhere"))
    unbroken = tuned(ingest.run("synthetic", str(tmp_path / "raw")))
    assert measured(resumed) == measured(unbroken)
    assert trials(resumed)["trial"].nunique() == 6


def test_processes_share_the_trials_of_a_study(tmp_path: Path) -> None:
    panel = panel_of(tmp_path / "raw")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    table = trials(tuned(panel, 8, jobs="2", storage=url))
    assert 8 <= len(table) <= 10, "each may begin one too many"
    assert table["lift"].nunique() == len(table)
    assert not (tmp_path / "home" / "tuning.db").exists()


def test_a_local_models_series_are_a_sample_by_the_seed(tmp_path: Path) -> None:
    panel = panel_of(tmp_path / "raw")
    asked = Tuning(panel.uri, "lift.yaml", "mine.yaml", "space.yaml", "", "", most_series=2)
    assert asked.seen.n_series == 2
    assert list(asked.seen.ids) == list(
        Tuning(panel.uri, "lift.yaml", "mine.yaml", "space.yaml", "", "", most_series=2).seen.ids
    )


def test_a_trial_that_fails_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "params:\n  lift: {type: float, low: 0.5, high: 4.0}\n  bug: {type: choice, choices: [false, true]}\n"
    )
    table = trials(tuned(panel_of(tmp_path / "raw"), 5))
    failed = table[table["state"] == "fail"]
    assert (table["state"] == "complete").any()
    assert len(failed) > 0
    assert failed["error"].tolist() == ["a bug"] * len(failed)


def test_a_model_that_fails_as_it_is_ends_the_tuning_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "lift.yaml").write_text("name: lift\nclass: lift_model:Lift\nparams: {bug: true}\n")
    panel = panel_of(tmp_path / "raw")
    for _ in range(2):  # and again, not only the first time
        with pytest.raises(ValueError, match="a bug"):
            tuned(panel)


def test_time_that_is_up_before_a_trial_is_finished_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trial was finished in time"):
        tuned(panel_of(tmp_path / "raw"), minutes="0.0000001")


def test_what_was_found_is_a_config_to_train_with_and_one_run_in_mlflow(tmp_path: Path) -> None:
    report = tune_report.run(tuned(panel_of(tmp_path / "raw")).uri, "mine.yaml")
    config = load_training_config(report.counts["training"])
    assert (config.name, config.folds) == ("mine-tuned", 2)
    spec = load_spec(config.models[1])
    assert spec.name == "lift"
    assert abs(spec.config("full").model_dump()["lift"] - 1) < 1
    assert 0 < report.counts["gain"] < 1

    settings = load_settings()
    client = mlflow_client.connect(settings)
    (experiment,) = [e for e in client.search_experiments() if e.name == "storecast-synthetic"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["rmsle"] < run.data.metrics["rmsle_default"]
    files = {f.path for place in ("", "tables") for f in client.list_artifacts(run.info.run_id, place)}
    assert {"tables/trials.csv", "trials.png", "model.yaml"} <= files


def test_a_default_that_nothing_beats_stays(tmp_path: Path) -> None:
    (tmp_path / "lift.yaml").write_text("name: lift\nclass: lift_model:Lift\nparams: {lift: 1.0}\n")
    (tmp_path / "space.yaml").write_text("params:\n  lift: {type: float, low: 6.0, high: 9.0}\n")
    report = tune_report.run(tuned(panel_of(tmp_path / "raw"), 3).uri, "mine.yaml")
    assert report.counts["gain"] == 0
    assert report.counts["training"] == ""
    assert not (tmp_path / "home" / "tuned").exists()


def test_a_default_that_forecasts_everything_exactly_stays(tmp_path: Path) -> None:
    (tmp_path / "lift.yaml").write_text("name: lift\nclass: lift_model:Lift\nparams: {lift: 1.0}\n")
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=220)
    history = pd.read_csv(tmp_path / "raw" / "train.csv")
    history.assign(sales=5).to_csv(tmp_path / "raw" / "train.csv", index=False)
    report = tune_report.run(tuned(ingest.run("synthetic", str(tmp_path / "raw")), 2).uri, "mine.yaml")
    assert (report.counts["gain"], report.counts["training"]) == (0, "")


def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\*\*\*@db") as error:
        tuned(panel_of(tmp_path / "raw"), storage="postgresql+nosuchdriver://me:secret@db/studies")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_of_postgresql_without_its_driver_names_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    study = StudyPlace(f"{scheme}://me:secret@db/studies", "s", tmp_path / "lock", {}, {}, 1)
    with pytest.raises(StoreError, match=r"(?s)\*\*\*@db.*storecast\[postgres\]") as error:
        study.open()
    assert "secret" not in str(error.value)


def test_a_url_of_postgresql_that_names_a_driver_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    study = StudyPlace("postgresql+psycopg://me:secret@db/studies", "s", tmp_path / "lock", {}, {}, 1)
    with pytest.raises(StoreError, match="an SQLAlchemy URL whose driver is installed"):
        study.open()


def test_tables_that_another_makes_at_the_same_moment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = place.RDBStorage
    too_late = [ProgrammingError("CREATE TYPE studydirection", None, Exception("it exists"))] * 3

    def storage(*given: Any, **options: Any) -> RDBStorage:
        if too_late:
            raise too_late.pop()
        return opened(*given, **options)

    monkeypatch.setattr(place, "RDBStorage", storage)
    study = StudyPlace(f"sqlite:///{tmp_path / 'shared.db'}", "s", tmp_path / "lock", {}, {}, 1)
    assert study.open().study_name == "s"


def test_pods_need_a_database_that_all_of_them_reach() -> None:
    with pytest.raises(ConfigError, match=r"(?s)STORECAST_TUNING_STORAGE.*run\.tuning\.existingSecret"):
        tuning_flow.fn(model="gbm", data="s3://shop/raw", pods=PodOptions())
