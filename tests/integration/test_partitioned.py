"""A panel in partitions from the command line: a run and a release for each, and all of them as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_shop import Shop
from typer.testing import CliRunner

from components import partition
from pipelines.cli import app
from serving.champion import LoadedModel
from serving.lookout import Lookout
from serving.prepare import prepare
from storecast.errors import ConfigError, ReleaseError
from storecast.settings import Settings
from storecast.synthetic import write_after, write_raw

TRAINING = """
name: tiny
models: [naive, arima]
profile: smoke
folds: 1
aggregates: ""
gate: {min_rows: 60}
"""
RUN = (
    "run",
    "--dataset",
    "synthetic",
    "--data",
    "raw",
    "--profile",
    "tiny.yaml",
    "--partition",
    "6",
    "--partition-by",
    "store_nbr",
)
HOME = "parts"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Shop:
    """A shop of three stores and three families; the third store's sales are not written as numbers."""
    folder = tmp_path_factory.mktemp("partitioned")
    write_raw(folder / "raw", n_stores=3, n_families=3, n_days=200)
    (folder / "tiny.yaml").write_text(TRAINING)
    made = Shop(folder)
    made.furnish(HOME, empty_home)
    train = folder / "raw" / "train.csv"
    whole = train.read_text()
    frame = pd.read_csv(train, dtype=str)
    frame.loc[frame["store_nbr"] == "3", "sales"] = "many"
    frame.to_csv(train, index=False)
    (folder / "failed.txt").write_text(made.call(HOME, *RUN, code=2))
    train.write_text(whole)
    (folder / "done.txt").write_text(made.call(HOME, *RUN))
    return made


def released(shop: Shop, home: str = HOME) -> dict[str, str]:
    """The current release of each data set."""
    pointers = (shop.folder / home / "releases").glob("*/current.json")
    return {path.parent.name: str(json.loads(path.read_text())["current"]) for path in pointers}


def test_a_partition_that_fails_stops_no_other_and_is_named_with_the_cause(shop: Shop) -> None:
    told = (shop.folder / "failed.txt").read_text()
    assert "1 partition of synthetic failed; the others are done" in told
    assert "synthetic-001: train.parquet" in told or "synthetic-002: train.parquet" in told
    assert "start the same run again" in told
    assert "Traceback" not in told


def test_the_same_command_goes_on_with_what_is_not_done(shop: Shop) -> None:
    ingested = list((shop.folder / HOME / "datasets" / "ingest").iterdir())
    assert len(ingested) == 2, "the partition that was done is ingested once"
    told = (shop.folder / "done.txt").read_text()
    assert "2 partitions" in told
    assert set(released(shop)) == {"synthetic", "synthetic-001", "synthetic-002"}
    for release in released(shop).values():
        assert release in told


def test_their_scores_are_those_of_one_panel(shop: Shop) -> None:
    (folder,) = (
        path
        for path in (shop.folder / HOME / "datasets" / "partitions_report").iterdir()
        if json.loads((path / "manifest.json").read_text())["counts"]["evaluated"] == 2
    )
    pooled = pd.read_json(folder / "scores.json")
    assert set(pooled["n"]) == {9 * 16}
    evaluations = (shop.folder / HOME / "datasets" / "evaluate").glob("*/cv.parquet")
    cv = pd.concat([pd.read_parquet(path) for path in evaluations])
    assert set(pooled["model"]) == set(cv["model"])
    (errors,) = (pooled.set_index("model")["mae"],)
    for model, rows in cv.groupby("model"):
        assert errors[model] == pytest.approx((rows["yhat"] - rows["y"]).abs().mean())
    assert (folder / "partitions.png").stat().st_size > 5_000


def test_their_releases_are_one_that_the_service_lays_out_and_whose_models_forecast_it(
    shop: Shop, tmp_path: Path
) -> None:
    root = str(shop.folder / HOME)
    settings = Settings(home=Path(root), workspace=root)
    store = Lookout(settings).store()
    assert store.name == "synthetic", "the partitions are no choice beside the whole"
    current = store.current()
    assert current is not None
    folder = prepare(root, store.name, current.id, tmp_path)
    model = LoadedModel(folder)  # which asks each partition's model for what was released
    parts = [pd.read_parquet(path) for path in (shop.folder / HOME).glob("releases/*-*/*/forecasts.parquet")]
    assert len(model.table.names) == 9
    assert model.table.values[:, :, 0].sum() == pytest.approx(pd.concat(parts)["yhat"].sum())
    row = next(n for n, name in enumerate(model.table.names) if name[0] == "3|GROCERY")
    question = {"release": current.id, "series": [{"row": row, "known": {}}], "events": [], "unknown": []}
    answer = model.answer(question)["series"][0]
    assert answer["unique_id"] == "3|GROCERY"
    assert answer["difference"] == pytest.approx([0.0] * 16, abs=1e-3)


def test_an_export_has_the_forecasts_of_all_partitions(shop: Shop) -> None:
    frame = exported(shop, "all.csv")
    assert len(frame) == frame[["unique_id", "ds"]].drop_duplicates().shape[0] == 9 * 16
    wanted = pd.read_csv(shop.folder / "raw" / "test.csv")["id"]
    got = exported(shop, "submission.csv", "--format", "submission")
    assert got["id"].tolist() == sorted(wanted)


def test_sums_are_over_all_partitions_and_agree_with_the_partitions_own(shop: Shop) -> None:
    series = exported(shop, "all.csv").groupby("ds")["mean"].sum().to_numpy()
    for level, values in (("total", 1), ("store", 3), ("family", 3)):
        sums = exported(shop, "sums.csv", "--level", level)
        assert len(sums) == values * 16
        assert sums.groupby("ds")["mean"].sum().to_numpy() == pytest.approx(series)
        assert (sums["lower_80"] <= sums["mean"]).all()
        assert (sums["mean"] <= sums["upper_80"]).all()
    stores = exported(shop, "sums.csv", "--level", "store")
    own = exported(shop, "own.csv", "--level", "store", "--dataset", "synthetic-001")
    both = own.merge(stores, on=["store_nbr", "ds"], suffixes=("", "_of_all"))
    assert len(both) == len(own) == 2 * 16
    assert both["mean_of_all"].to_numpy() == pytest.approx(both["mean"].to_numpy())


def test_a_release_without_sums_says_so(shop: Shop, tmp_path: Path) -> None:
    shutil.copytree(shop.folder / HOME / "releases", tmp_path / HOME / "releases")
    for sums in (tmp_path / HOME).rglob("aggregates.parquet"):
        sums.unlink()
    with pytest.raises(ReleaseError, match="no forecasts of sums"):
        exported(Shop(tmp_path), "sums.csv", "--level", "total", "--dataset", "synthetic")


def exported(shop: Shop, name: str, *options: str) -> pd.DataFrame:
    """What `storecast export` writes."""
    out = shop.folder / name
    called(shop, HOME, "export", "--out", str(out), *options)
    return pd.read_csv(out)


def called(shop: Shop, home: str, *words: str) -> str:
    """What a command prints that is called in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORECAST_HOME", str(shop.folder / home))
        done = CliRunner().invoke(app, list(words))
    if done.exception:
        raise done.exception
    return done.output


def test_a_pass_of_the_loop_goes_over_all_partitions_and_makes_their_releases_one(shop: Shop) -> None:
    home = shop.folder / "looped"
    shutil.copytree(shop.folder / HOME, home)
    before = released(shop, "looped")
    write_after(shop.folder / "after", n_stores=3, n_families=3, n_days=200)
    (shop.folder / "never.yaml").write_text("name: never\nchecks: []\nevery_days: 0\n")
    for name in ("train.csv", "test.csv"):
        called(shop, "looped", "actuals", "add", str(shop.folder / "after" / name), "--dataset", "synthetic")
    one_pass = ("loop", "run", "--dataset", "synthetic", "--data", "raw", "--policy", "never.yaml")

    shop.call("looped", *one_pass)

    after = released(shop, "looped")
    assert {name for name in before if after[name] != before[name]} == set(before)
    joined = pd.read_parquet(home / "releases" / "synthetic" / after["synthetic"] / "forecasts.parquet")
    plan = pd.read_csv(shop.folder / "after" / "test.csv")
    assert joined["unique_id"].nunique() == 9
    assert set(joined["ds"].astype(str)) == set(plan["date"])
    told = called(shop, "looped", "loop", "decisions", "--dataset", "synthetic")
    for partition_name in ("synthetic-001", "synthetic-002"):
        assert any(partition_name in line and "refresh" in line for line in told.splitlines()), told
    with pytest.raises(ConfigError, match="partitions, each with decisions of its own"):
        called(shop, "looped", "loop", "approve", "2023", "--dataset", "synthetic")

    shop.call("looped", *one_pass)
    assert released(shop, "looped") == after, "without anything new nothing is made"


def test_a_run_by_hand_deals_what_has_arrived_and_learns_from_it(shop: Shop) -> None:
    shutil.copytree(shop.folder / HOME, shop.folder / "by-hand")
    write_after(shop.folder / "sold", n_stores=3, n_families=3, n_days=200)
    for name in ("train.csv", "test.csv"):
        called(shop, "by-hand", "actuals", "add", str(shop.folder / "sold" / name), "--dataset", "synthetic")
    before = released(shop, "by-hand")

    shop.call("by-hand", *RUN)

    after = released(shop, "by-hand")
    sold = pd.read_csv(shop.folder / "sold" / "train.csv")["date"].max()
    assert after.keys() == before.keys()
    assert all(release.startswith(sold) for release in after.values()), after


def test_another_column_to_cut_by_is_refused_once_there_are_releases(shop: Shop) -> None:
    told = shop.call(HOME, *RUN[:-1], "family", code=2)
    assert "is cut by store_nbr already" in told
    assert "another name" in told


def test_a_column_to_cut_by_without_a_size_is_refused(shop: Shop) -> None:
    told = shop.call(HOME, *RUN[:-4], "--partition-by", "family", code=2)
    assert "without --partition nothing is cut" in told


def test_what_was_cut_may_be_cut_otherwise_until_something_is_released(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=100)
    root = str(tmp_path / "store")

    def cut(series: int) -> list[int]:
        made = partition.run("synthetic", str(tmp_path / "raw"), series, workspace=root)
        return [about["series"] for about in made.counts["partitions"]]

    assert cut(2) == [2, 2]
    assert cut(4) == [4]
    (tmp_path / "store" / "releases" / "synthetic-001").mkdir(parents=True)
    assert cut(2) == [4]
