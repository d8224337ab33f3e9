"""The main job from the command line, as a user runs it: real files, a real Prefect, a real MLflow."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from command_shop import DEADLINE, TRAINING, Shop
from serving_shop import eventually

from storecast.synthetic import write_raw


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Shop:
    """A shop that has been trained once, in home "first"."""
    folder = tmp_path_factory.mktemp("shop")
    write_raw(folder / "raw", n_stores=3, n_families=3, n_days=260)
    (folder / "tiny.yaml").write_text(TRAINING)
    made = Shop(folder)
    for home in ("first", "second", "interrupted"):
        made.furnish(home, empty_home)
    output = made.train("first")
    (folder / "output.txt").write_text(output)
    return made


def test_a_run_ends_with_the_comparison_and_says_where_everything_lies(shop: Shop) -> None:
    output = (shop.folder / "output.txt").read_text()
    for word in ("naive", "gbm", "arima", "blend", "report.html", "forecasts.png", "storecast releases show"):
        assert word in output


def test_the_release_forecasts_every_series_and_day_with_ordered_quantiles(shop: Shop) -> None:
    frame = pd.read_parquet(shop.release("first") / "forecasts.parquet")
    assert len(frame) == 9 * 16
    assert frame["ds"].min() == pd.Timestamp("2023-08-01")
    quantiles = frame[["q0.025", "q0.1", "q0.5", "q0.9", "q0.975"]].to_numpy()
    assert (quantiles >= 0).all()
    assert (quantiles[:, 1:] >= quantiles[:, :-1]).all()


def test_the_lineage_goes_down_to_the_raw_files(shop: Shop) -> None:
    lineage = json.loads((shop.release("first") / "lineage.json").read_text())
    assert {"train.csv", "stores.csv", "holidays_events.csv"} <= set(lineage["panel"]["inputs"])


def test_a_rerun_with_nothing_changed_makes_nothing_new(shop: Shop) -> None:
    home = shop.folder / "first"
    before = sorted(str(p) for p in [*home.glob("datasets/*/*"), *home.glob("releases/*/*")])
    pointer = (home / "releases" / "synthetic" / "current.json").read_text()
    began = time.monotonic()
    shop.train("first")
    assert time.monotonic() - began < 120
    assert sorted(str(p) for p in [*home.glob("datasets/*/*"), *home.glob("releases/*/*")]) == before
    assert (home / "releases" / "synthetic" / "current.json").read_text() == pointer


def flow_runs(home: Path) -> list[str]:
    """How a home's flow runs have ended, as Prefect knows it, the oldest first."""
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as connection:
        found = connection.execute("SELECT state_type FROM flow_run ORDER BY created").fetchall()
    return [state for (state,) in found]


def test_a_run_killed_while_training_resumes_to_the_same_release_byte_for_byte(shop: Shop) -> None:
    fits = shop.folder / "second" / "datasets" / "train"
    process = shop.start("second", shop.folder / "killed.log")
    eventually(lambda: len(list(fits.glob("*"))) >= 4 or process.poll() is not None, DEADLINE, "four fits")
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in fits.glob("*/manifest.json")}
    shop.train("second")
    assert {path: path.stat().st_mtime_ns for path in done} == done
    first, second = shop.release("first"), shop.release("second")
    assert first.name == second.name
    sums = (first / "checksums.json").read_text()
    assert sums == (second / "checksums.json").read_text()
    assert flow_runs(shop.folder / "second") == ["CRASHED", "COMPLETED"], "what was killed no longer runs"
    shop.call("second", "releases", "verify")


def test_an_interrupt_stops_a_run_at_once_with_one_line_and_prefect_knows(shop: Shop) -> None:
    log = shop.folder / "interrupted.log"
    process = shop.start("interrupted", log)
    fits = shop.folder / "interrupted" / "datasets" / "train"
    eventually(lambda: any(fits.glob("*")) or process.poll() is not None, DEADLINE, "the first fit")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and all that it started
    assert process.wait(60) == 130
    told = log.read_text()
    assert "What is done is kept" in told
    assert "Traceback" not in told
    assert "ERROR" not in told
    assert flow_runs(shop.folder / "interrupted") == ["CRASHED"]


def test_the_submission_has_a_row_for_every_id_of_the_future_table(shop: Shop) -> None:
    shop.call("first", "export", "--format", "submission", "--out", "submission.csv")
    wanted = pd.read_csv(shop.folder / "raw" / "test.csv")["id"]
    got = pd.read_csv(shop.folder / "submission.csv")
    assert list(got.columns) == ["id", "sales"]
    assert sorted(got["id"]) == sorted(wanted)
    assert got["sales"].notna().all()


def test_sums_are_released_that_agree_at_every_level_and_are_exported_by_level(shop: Shop) -> None:
    release = shop.release("first")
    sums = pd.read_parquet(release / "aggregates.parquet")
    series = pd.read_parquet(release / "forecasts.parquet")
    expected = series.groupby("ds")["mean"].sum()
    for _, level in sums.groupby("level"):
        pd.testing.assert_series_equal(level.groupby("ds")["mean"].sum(), expected, rtol=1e-9)
    assert {"total", "store_nbr", "family", "city"} <= set(sums["level"])
    assert (sums["lower_80"] <= sums["upper_80"]).all()
    report = (release / "report.html").read_text()
    assert "Sums of series" in report
    shop.call("first", "export", "--level", "store", "--out", "stores.csv")
    stores = pd.read_csv(shop.folder / "stores.csv", parse_dates=["ds"])
    assert list(stores["store_nbr"].unique()) == [1, 2, 3]
    assert len(stores) == 3 * 16
    said = shop.call("first", "export", "--level", "shelf", "--out", "no.csv", code=2)
    assert "store_nbr" in said
    assert not (shop.folder / "no.csv").exists()


def test_the_registered_champion_predicts_in_a_plain_python(shop: Shop) -> None:
    code = (
        "import mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model('models:/storecast-synthetic@champion')\n"
        "frame = pd.DataFrame({'store_nbr': ['1', '2'], 'family': ['GROCERY', 'PRODUCE'],\n"
        "                      'ds': pd.to_datetime(['2023-08-03', '2023-08-16'])})\n"
        "print(model.predict(frame)[['yhat']].to_json(orient='values'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **shop.environment("first"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{shop.folder / 'first' / 'mlflow.db'}",
        },
        cwd=shop.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    got = [row[0] for row in json.loads(done.stdout.strip().splitlines()[-1])]
    frame = pd.read_parquet(shop.release("first") / "forecasts.parquet").set_index(["unique_id", "ds"])
    wanted = [
        frame.loc[("1|GROCERY", pd.Timestamp("2023-08-03")), "yhat"],
        frame.loc[("2|PRODUCE", pd.Timestamp("2023-08-16")), "yhat"],
    ]
    assert got == pytest.approx(wanted, rel=1e-6)


def test_missing_data_is_an_error_that_names_the_file_and_the_folder(shop: Shop) -> None:
    (shop.folder / "empty").mkdir()
    output = shop.call(
        "third", "run", "--dataset", "synthetic", "--data", "empty", "--profile", "tiny.yaml", code=2
    )
    assert "train.csv" in output
    assert "empty" in output
    assert "Traceback" not in output
    assert not (shop.folder / "third" / "prefect").exists(), "it is told before anything is started"


def test_an_error_is_told_letter_for_letter(shop: Shop) -> None:
    output = shop.call(
        "third", "run", "--dataset", "synthetic", "--data", "gcs://shop/raw", "--profile", "tiny.yaml", code=2
    )
    assert 'pip install "storecast[s3]"' in output, "brackets are no markup"
