"""Local copies of releases: what is good is laid out once, what is bad is refused with its reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from serving_shop import ROOT, Shop, make_shop, publish, stored

from serving import prepare, questions
from serving.problems import Problem
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.calendar import EVENT_KINDS
from storecast.errors import ReleaseError
from storecast.panel import Panel
from storecast.store.releases import Release


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("prepare"))


def test_the_table_holds_what_the_release_stores(shop: Shop, tmp_path: Path) -> None:
    table = ReleaseTable.open(prepare.prepare(str(shop.home), "shop", shop.first.id, tmp_path))
    frame = pd.read_parquet(Path(shop.first.uri) / "forecasts.parquet")
    for (name, *key), values in zip(table.names, table.values, strict=True):
        part = frame[frame["unique_id"] == name].sort_values("ds")
        np.testing.assert_array_equal(values, part[table.columns].to_numpy())
        row = table.rows[tuple(key)]
        assert json.loads(table.text(row))["yhat"] == stored(shop.first)[name]
        assert json.loads(table.part(row, slice(2, 4), (0,))) == {
            "unique_id": name,
            **dict(zip(table.keys, key, strict=True)),
            "ds": table.dates[2:4],
            "yhat": stored(shop.first)[name][2:4],
        }


def negative(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(yhat=-frame["yhat"] - 1)


def missing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:-1]


def crossing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"q0.1": frame["q0.9"] + 1})


def unknown(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(unique_id=frame["unique_id"].str.replace("GROCERY", "HATS"))


def infinite(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(yhat=np.inf)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (negative, "no forecast"),
        (infinite, "no forecast"),
        (crossing, "no forecast"),
        (missing, "lacks a date"),
        (unknown, "does not know every series"),
    ],
)
def test_a_release_that_holds_nonsense_is_refused(
    shop: Shop, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], reason: str
) -> None:
    bad = publish(shop.home, 4, change)
    with pytest.raises(ReleaseError, match=reason):
        prepare.prepare(str(shop.home), "shop", bad.id, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_damaged_file_is_named_by_the_command_and_its_exit_code(shop: Shop, tmp_path: Path) -> None:
    bad = publish(shop.home, 5)
    (Path(bad.uri) / "lineage.json").write_text("{}")
    command = [sys.executable, "-m", "serving.prepare", str(shop.home), "shop", bad.id, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == prepare.BAD
    assert "lineage.json was changed" in done.stderr


def test_no_more_copies_are_kept_than_needed(shop: Shop, tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.json").touch()
        (tmp_path / ".fetched" / name).mkdir(parents=True)
    prepare.prune(tmp_path, {"a"}, tmp_path / ".fetched")
    kept = {path.name for path in (tmp_path / ".fetched").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {".fetched", *kept}
    assert len(kept) in {prepare.KEPT, prepare.KEPT + 1}
    assert "a" in kept


def test_the_copies_in_use_and_before_outlive_the_releases_that_are_refused(
    shop: Shop, tmp_path: Path
) -> None:
    """Without the store, the service starts from the one and goes back to the other."""

    def bad_from_the_third(folder: Path) -> ReleaseTable:
        if folder.name not in good:
            raise ReleaseError("the model says otherwise")
        return ReleaseTable.open(folder)

    good = [shop.first.id, shop.second.id]
    bad = [like_the_first(shop, number).id for number in range(prepare.KEPT)]
    settings = shop.settings.model_copy(update={"serving_folder": tmp_path})
    watcher = Watcher(settings, bad_from_the_third)
    for release in (*good, *bad):
        shop.store.activate(release, "the next")
        watcher.look()
    assert list(watcher.refused) == bad
    assert {path.name for path in (tmp_path / "shop").iterdir() if path.is_dir()} == {*good, *bad}
    again = Watcher(settings, ReleaseTable.open)
    again.resume()
    assert again.release == shop.second.id


def like_the_first(shop: Shop, number: int) -> Release:
    with shop.store.store.building(f"like-{number}") as folder:
        shutil.copytree(shop.first.uri, folder, dirs_exist_ok=True)
        (folder / "checksums.json").unlink()
        (folder / "lineage.json").write_text(json.dumps({"panel": {"hash": f"like-{number}"}}))
        return shop.store.publish(folder, shop.first.about)


def test_what_a_killed_process_has_left_is_removed_by_the_next(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / ".part-killed" / "bundle").mkdir(parents=True)
    prepare.prepare(str(shop.home), "shop", shop.first.id, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", shop.first.id}


def test_workers_are_not_given_pandas() -> None:
    code = "import sys, serving.door; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0


def test_the_events_of_a_what_if_are_those_of_the_calendar() -> None:
    assert questions.EVENT_KINDS == EVENT_KINDS


def cold(panel: Panel) -> Panel:
    """Degrees instead of promotions."""
    return panel.with_known("onpromotion", panel.known["onpromotion"] - 3)


@pytest.mark.parametrize(("given", "least"), [(lambda panel: panel, 0), (cold, -1_000_000_000)])
def test_a_what_if_may_go_below_0_where_the_data_did(
    given: Callable[[Panel], Panel], least: int, tmp_path: Path
) -> None:
    release = publish(tmp_path / "home", 6, given=given)
    local = tmp_path / "local"
    table = ReleaseTable.open(prepare.prepare(str(tmp_path / "home"), "shop", release.id, local))

    def asked(value: float) -> Any:
        series = [
            {"key": dict(zip(table.keys, table.names[0][1:], strict=True)), "known": {"onpromotion": value}}
        ]
        return questions.read(json.dumps({"series": series}).encode(), table, 10)

    assert set(asked(least)["series"][0]["known"]["onpromotion"].values()) == {least}
    with pytest.raises(Problem, match="not valid") as refused:
        asked(least - 1)
    assert refused.value.expected == f"a number from {least} to 1000000000"
