"""Following the pointer, one look at a time: verdicts that come late, stores that cannot be read."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_shop import Shop, ask, eventually, make_shop, publish

from serving import watcher as watching
from serving.champion import LoadedModel
from serving.lookout import Lookout
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.errors import StorecastError
from storecast.store import uri as uris
from storecast.store.releases import POINTER


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("watcher"))


@pytest.fixture
def shop(made: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(watching, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(watching, "FIRST_PROBE_SECONDS", 0.2)
    made.store.activate(made.first.id, "for the next test")
    yield made
    for verdict in made.home.glob("serving/shop/*/verdict.json"):
        verdict.unlink()


def judge(shop: Shop, release: str, good: bool) -> None:
    path = shop.home / "serving" / "shop" / release / "verdict.json"
    path.write_text(json.dumps({"good": good, "why": "" if good else "the model says otherwise"}))


def test_a_bad_verdict_that_comes_late_brings_the_last_good_release_back(shop: Shop) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open, waits=True)
    watcher.look()
    shop.store.activate(shop.second.id, "swap")
    watcher.look()
    assert watcher.release == shop.second.id
    judge(shop, shop.second.id, good=False)
    watcher.look()
    assert watcher.release == shop.first.id
    assert watcher.value is not None
    assert watcher.value.id == shop.first.id
    assert watcher.refused == {shop.second.id: "the model says otherwise"}
    watcher.look()
    assert watcher.release == shop.first.id


def test_the_first_release_waits_for_the_verdict_and_is_not_served_if_that_is_bad(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.store.activate(shop.second.id, "not noticed yet")
    monkeypatch.setattr(watching, "FIRST_PROBE_SECONDS", 20.0)
    watcher = Watcher(shop.settings, ReleaseTable.open, waits=True)
    looking = threading.Thread(target=watcher.look)
    looking.start()
    copy = shop.home / "serving" / "shop" / shop.second.id
    eventually((copy / "table.json").is_file, 10, "the local copy")
    assert watcher.value is None
    judge(shop, shop.second.id, good=False)
    looking.join(10)
    assert (watcher.value, watcher.release) == (None, "")
    judge(shop, shop.first.id, good=True)
    watcher.look()
    assert watcher.release == shop.first.id, "the last good one before it"
    assert watcher.refused == {shop.second.id: "the model says otherwise"}
    watcher.look()
    assert watcher.release == shop.first.id


@pytest.mark.parametrize("file", ["checksums.json", "release.json"])
def test_where_the_current_release_is_incomplete_the_one_before_it_is_served(
    shop: Shop, tmp_path: Path, file: str
) -> None:
    shop.store.activate(shop.second.id, "the next")
    watcher = Watcher(shop.settings.model_copy(update={"serving_folder": tmp_path}), ReleaseTable.open)
    lost = Path(shop.second.uri) / file
    lost.rename(tmp_path / file)
    try:
        watcher.look()
        watcher.look()
    finally:
        (tmp_path / file).rename(lost)
    assert watcher.release == shop.first.id
    assert "is incomplete" in watcher.refused[shop.second.id]


def test_a_bad_verdict_after_the_first_start_takes_the_release_away(shop: Shop) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open, waits=True)
    shop.store.activate(shop.second.id, "swap")
    watcher.look()
    assert watcher.release == shop.second.id, "it was not judged in time"
    judge(shop, shop.second.id, good=False)
    watcher.look()
    assert watcher.release == shop.first.id


def test_a_service_that_started_before_the_first_release_is_not_ready_once_that_is_refused(
    shop: Shop, tmp_path: Path
) -> None:
    other = Shop(tmp_path, shop.first, shop.second, shop.key)
    watcher = Watcher(other.settings, ReleaseTable.open, waits=True)
    watcher.start()
    assert watcher.looked.wait(20)
    watcher.stop()
    assert ask(watcher, other, "GET", "/readyz").status_code == 200, "nothing was released yet"
    bad = publish(tmp_path, 1, lambda f: f.assign(yhat=-f["yhat"] - 1))
    other.store.activate(bad.id, "first")
    watcher.look()
    assert list(watcher.refused) == [bad.id]
    assert ask(watcher, other, "GET", "/readyz").status_code == 503
    good = publish(tmp_path, 2)
    other.store.activate(good.id, "the next")
    watcher.look()
    assert ask(watcher, other, "GET", "/readyz").status_code == 200
    judge(other, good.id, good=False)
    watcher.look()
    assert ask(watcher, other, "GET", "/readyz").status_code == 503, "its model was refused after all"


def test_a_service_is_ready_while_the_first_release_comes(shop: Shop, tmp_path: Path) -> None:
    other = Shop(tmp_path, shop.first, shop.second, shop.key)
    watcher = Watcher(other.settings, ReleaseTable.open)
    watcher.start()
    assert watcher.looked.wait(20)
    made = publish(tmp_path, 1)
    eventually(lambda: POINTER in watcher.seen.trouble, 10, "a look at what is not current yet")
    assert ask(watcher, other, "GET", "/readyz").status_code == 200
    other.store.activate(made.id, "first")
    eventually(lambda: watcher.release == made.id, 20, "the first release")
    watcher.stop()
    assert ask(watcher, other, "GET", "/readyz").status_code == 200


def test_a_local_copy_whose_model_was_refused_is_not_started_from(shop: Shop) -> None:
    Watcher(shop.settings, ReleaseTable.open, waits=True).look()
    again = Watcher(shop.settings, ReleaseTable.open, waits=True)
    again.resume()
    assert again.release == shop.first.id
    judge(shop, shop.first.id, good=False)
    refusing = Watcher(shop.settings, ReleaseTable.open, waits=True)
    refusing.resume()
    assert refusing.value is None


def test_what_is_bad_is_refused_as_a_place_to_go_back_to(shop: Shop) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open, waits=True)
    watcher.look()
    negative = publish(shop.home, 6, lambda f: f.assign(yhat=-f["yhat"] - 1))
    assert watcher.refuses(shop.store, negative.id)
    assert not watcher.refuses(shop.store, shop.second.id)
    judge(shop, shop.second.id, good=False)
    assert watcher.refuses(shop.store, shop.second.id)


def test_the_swap_waits_for_the_verdict(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open, waits=True)
    watcher.look()
    shop.store.activate(shop.second.id, "swap")
    monkeypatch.setattr(watching, "PROBE_SECONDS", 20.0)
    looking = threading.Thread(target=watcher.look)
    looking.start()
    judge(shop, shop.second.id, good=True)
    looking.join(10)
    assert watcher.release == shop.second.id


def test_the_model_that_forecasts_what_was_released_is_a_good_verdict(shop: Shop) -> None:
    model = Watcher(shop.settings, LoadedModel, judge=True)
    model.look()
    path = shop.home / "serving" / "shop" / shop.first.id / "verdict.json"
    assert json.loads(path.read_text())["good"] is True
    assert not (path.parent.parent / ".part").exists()


def cut(bundle: Path) -> None:
    """Leave a third of a bundle's booster, over which LightGBM raises an error of its own."""
    booster = bundle / "model" / "booster_0_0.txt"
    text = booster.read_text()
    booster.write_text(text[: len(text) // 3])


def test_a_release_whose_model_does_not_load_is_refused_with_what_its_library_said(shop: Shop) -> None:
    with shop.store.store.building("cut") as folder:
        shutil.copytree(shop.second.uri, folder, dirs_exist_ok=True)
        (folder / "checksums.json").unlink()
        cut(folder / "bundle")
        broken = shop.store.publish(folder, shop.second.about)
    shop.store.activate(broken.id, "not noticed yet")
    model = Watcher(shop.settings, LoadedModel, judge=True)
    model.look()
    model.look()
    assert "LightGBMError: Wrong size of feature_infos" in model.refused[broken.id]
    assert model.release == shop.first.id, "the one before it"
    workers = Watcher(shop.settings, ReleaseTable.open, waits=True)
    workers.look()
    assert workers.refused == model.refused


def test_a_local_copy_whose_model_does_not_load_does_not_keep_the_watcher_from_looking(
    shop: Shop, tmp_path: Path
) -> None:
    settings = shop.settings.model_copy(update={"serving_folder": tmp_path})
    Watcher(settings, ReleaseTable.open).look()
    cut(tmp_path / "shop" / shop.first.id / "bundle")
    model = Watcher(settings, LoadedModel, judge=True)
    model.start()
    assert model.looked.wait(20)
    model.stop()
    assert "LightGBMError" in model.refused[shop.first.id]


def test_a_store_that_cannot_be_read_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open)
    watcher.look()
    away = shop.home / "releases"
    away.rename(tmp_path / "releases")
    try:
        with pytest.raises(StorecastError):
            watcher.look()
    finally:
        (tmp_path / "releases").rename(away)
    assert watcher.release == shop.first.id
    watcher.look()
    assert watcher.seen.trouble == ""


def test_what_could_not_be_fetched_is_left_alone_for_some_seconds(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "UNREAD_SECONDS", 3.0)
    watcher = Watcher(shop.settings.model_copy(update={"serving_folder": tmp_path}), ReleaseTable.open)
    (tmp_path / "shop").write_text("no folder can be made here")
    with pytest.raises(OSError, match="shop"):
        watcher.look()
    (tmp_path / "shop").unlink()
    watcher.look()
    assert watcher.release == ""

    def taken() -> bool:
        watcher.look()
        return watcher.release == shop.first.id

    eventually(taken, 20, "the next attempt")


@pytest.mark.parametrize("file", ["values.npy", "table.json"])
def test_a_damaged_local_copy_is_made_anew(shop: Shop, file: str) -> None:
    Watcher(shop.settings, ReleaseTable.open).look()
    damaged = shop.home / "serving" / "shop" / shop.first.id / file
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9] + b"\0" + whole[-8:])
    again = Watcher(shop.settings, ReleaseTable.open)
    again.look()
    assert again.release == shop.first.id
    assert damaged.read_bytes() == whole


def test_a_look_at_what_has_not_changed_reads_the_pointer_and_lists_no_folder(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = shop.settings.model_copy(update={"serving_dataset": ""})
    looks, listed = Lookout(settings), list[str]()
    looks.look()
    children = uris.children

    def noted(uri: str) -> list[str]:
        listed.append(uri)
        return children(uri)

    monkeypatch.setattr(uris, "children", noted)
    looks.look()
    looks.look()
    assert not listed
    shop.store.activate(shop.second.id, "a change")
    looks.look()
    assert looks.seen.current == shop.second.id
    assert listed


def test_a_release_that_was_seen_is_not_looked_into_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, asked = Lookout(shop.settings), list[str]()
    looks.look()
    before, exists = looks.seen.releases, uris.exists

    def noted(uri: str) -> bool:
        asked.append(uri)
        return exists(uri)

    shop.store.activate(shop.second.id, "a change")
    monkeypatch.setattr(uris, "exists", noted)
    looks.look()
    assert looks.seen.current == shop.second.id
    assert looks.seen.releases == before
    assert not asked
