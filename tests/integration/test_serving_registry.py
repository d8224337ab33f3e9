"""What is switched over HTTP: away from what was refused, and MLflow's champion follows."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving_shop import Shop, make_shop, process_meters, publish
from typer.testing import CliRunner

from components import activate
from components import mlflow_registry as registry
from components import mlflow_tracking as tracking
from pipelines.cli import app
from serving.access_log import AccessLog
from serving.door import Door
from serving.state import State
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.store.releases import ABOUT, CHECKSUMS, Release

MODEL = "storecast-shop"


@pytest.fixture
def shop(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shutil.copytree(empty_home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return make_shop(tmp_path)


@pytest.fixture
def door(shop: Shop) -> Iterator[Door]:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    watcher = Watcher(shop.settings, ReleaseTable.open)
    watcher.look()

    async def no_app(*_: object) -> None:
        raise AssertionError("BentoML is not asked")

    yield Door(no_app, State(shop.settings, watcher), process_meters(), AccessLog(nowhere))
    os.close(nowhere)


def post(door: Door, shop: Shop, path: str) -> httpx.Response:
    async def one() -> httpx.Response:
        headers = {"authorization": f"Bearer {shop.key}"}
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
            return await client.post(path)

    return asyncio.run(one())


def test_a_rollback_passes_over_what_was_refused(shop: Shop, door: Door) -> None:
    wrong = publish(shop.home, 3, lambda f: f.assign(yhat=-f["yhat"] - 1))
    shop.store.activate(wrong.id, "not noticed yet")
    shop.store.activate(shop.second.id, "the next")
    assert shop.store.before_current().id == wrong.id
    got = post(door, shop, "/v1/releases/rollback")
    assert (got.status_code, got.json()["current"]) == (202, shop.first.id)
    assert post(door, shop, "/v1/releases/rollback").status_code == 409, "there is none before the first"


def refreshed(shop: Shop, release: Release, day: str) -> Release:
    """The release as a later day's data refresh it: the model's context is another one."""
    with shop.store.store.building(f"refresh-{day}") as folder:
        own = shutil.ignore_patterns(ABOUT, CHECKSUMS)
        shutil.copytree(release.uri, folder, ignore=own, dirs_exist_ok=True)
        (folder / "bundle" / "context" / "news.txt").write_text(day)
        (folder / "lineage.json").write_text(json.dumps({"refreshed": release.id}))
        return shop.store.publish(folder, {**release.about, "cutoff": day, "champion": release.id})


def test_the_champion_of_a_refreshed_forecast_is_the_model_that_made_it(shop: Shop) -> None:
    versions = {}
    for release in (shop.first, shop.second):
        with tracking.run(shop.settings, MODEL, release.id, release.id) as tracked:
            versions[release.id] = registry.register(tracked, Path(release.uri) / "bundle", MODEL)
    tomorrow = refreshed(shop, shop.first, "2099-01-01")
    after = refreshed(shop, tomorrow, "2099-01-02")
    for release, model in ((after, shop.first), (shop.second, shop.second), (tomorrow, shop.first)):
        activate.run(release.uri)
        assert registry.version_of(shop.settings, MODEL) == versions[model.id]


def test_the_champion_follows_what_was_switched_over_http(shop: Shop, door: Door) -> None:
    versions = {}
    for release in (shop.first, shop.second):
        with tracking.run(shop.settings, MODEL, release.id, release.id) as tracked:
            versions[release.id] = registry.register(tracked, Path(release.uri) / "bundle", MODEL)
    registry.promote(shop.settings, MODEL, versions[shop.first.id])
    assert post(door, shop, f"/v1/releases/{shop.second.id}/activate").status_code == 202
    assert registry.version_of(shop.settings, MODEL) == versions[shop.first.id], "not yet"
    listed = CliRunner().invoke(app, ["releases", "list"], catch_exceptions=False).output
    assert f"storecast releases activate {shop.second.id}" in listed
    activate.run(shop.first.uri, once=True)  # as the next run of the pipeline does
    assert shop.store.history()[-1].id == shop.second.id, "the pointer stays"
    assert registry.version_of(shop.settings, MODEL) == versions[shop.second.id]
    assert activate.follow(shop.store) is None
    listed = CliRunner().invoke(app, ["releases", "list"], catch_exceptions=False).output
    assert "champion" not in listed
