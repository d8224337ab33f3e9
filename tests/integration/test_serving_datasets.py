"""Which data set is served where several have releases, and nothing says which."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_shop import Shop, ask, eventually, make_shop

from serving import lookout
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.errors import ConfigError
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop whose store is listed at every look."""
    monkeypatch.setattr(lookout, "LIST_SECONDS", -1.0)
    yield make_shop(tmp_path)
    shutil.rmtree(tmp_path)


def release_also(shop: Shop, name: str) -> None:
    """A first release of another data set."""
    store = ReleaseStore(DatasetStore(str(shop.home)), name)
    with store.store.building(name) as folder:
        (folder / "note.txt").write_text(name)
        made = store.publish(folder, {"cutoff": "2023-07-31", "dataset": name})
    store.activate(made.id, "first")


def test_the_data_set_that_is_served_stays_and_is_followed_when_another_is_released(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher(shop.settings, ReleaseTable.open)
    watcher.look()
    release_also(shop, "annex")
    for _ in range(2):
        watcher.look()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "several data sets have releases: annex, shop; shop goes on being served, and serving_dataset has to "
        "name it"
    ]
    shop.store.activate(shop.second.id, "the next")
    watcher.look()
    assert watcher.release == shop.second.id
    assert ask(watcher, shop, "POST", "/v1/releases/rollback").json()["current"] == shop.first.id


def test_a_restarted_service_goes_on_with_the_data_set_of_its_local_copy(shop: Shop) -> None:
    Watcher(shop.settings, ReleaseTable.open).look()
    release_also(shop, "annex")
    shop.store.activate(shop.second.id, "the next")
    watcher = Watcher(shop.settings, ReleaseTable.open)
    watcher.resume()
    watcher.look()
    assert watcher.release == shop.second.id


def test_a_new_service_that_cannot_choose_is_not_ready_and_says_what_to_set(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    release_also(shop, "annex")
    watcher = Watcher(shop.settings, ReleaseTable.open)
    with pytest.raises(ConfigError, match="serving_dataset: several data sets have releases: annex, shop"):
        watcher.look()
    watcher.start()
    eventually(lambda: watcher.seen.undecided, 5, "a look at the store")
    watcher.stop()
    assert "no release is served: serving_dataset: several data sets" in caplog.text
    assert "cannot be read" not in caplog.text
    assert watcher.lookout.failures == 0, "the store can be read"
    assert ask(watcher, shop, "GET", "/readyz").status_code == 503
    assert ask(watcher, shop, "GET", "/v1/releases").json()["store"] == {"state": "undecided"}
    for method, path in (("GET", "/v1/series"), ("POST", "/v1/releases/rollback")):
        got = ask(watcher, shop, method, path)
        assert (got.status_code, got.json()["type"]) == (503, "urn:storecast:problem:no-dataset")
        assert "set serving_dataset" in got.json()["cure"]


def test_the_whole_takes_the_place_of_a_partition_that_was_served_before_it(shop: Shop) -> None:
    looks = lookout.Lookout(shop.settings)
    (shop.home / "releases" / "shop").rename(shop.home / "releases" / "all-001")
    assert looks.store().name == "all-001"
    release_also(shop, "all-002")
    assert looks.store().name == "all-001"
    (shop.home / "partitions").mkdir()
    (shop.home / "partitions" / "all.json").write_text('{"groups": {"1": 1, "2": 2}}')
    release_also(shop, "all")
    assert looks.store().name == "all"
