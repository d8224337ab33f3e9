"""Moving the pointer over HTTP, which takes as long as a release's files do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from serving_shop import Shop, ask, make_shop, publish

from serving.table import ReleaseTable
from serving.watcher import Watcher


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop where the second release is current."""
    made = make_shop(tmp_path)
    made.store.activate(made.second.id, "the next")
    return made


def test_a_rollback_that_takes_longer_than_other_requests_may_is_answered_when_it_is_done(shop: Shop) -> None:
    hurried = shop.settings.model_copy(update={"serving_timeout": 0.05})
    got = ask(Watcher(hurried, ReleaseTable.open), shop, "POST", "/v1/releases/rollback")
    assert (got.status_code, got.json()["current"]) == (202, shop.first.id)
    assert [entry.id for entry in shop.store.history()][-1] == shop.first.id


def test_a_rollback_that_names_the_release_to_leave_may_be_asked_again(shop: Shop) -> None:
    third = publish(shop.home, 3)
    shop.store.activate(third.id, "the one after")
    watcher = Watcher(shop.settings, ReleaseTable.open)
    path = f"/v1/releases/rollback?current={third.id}"
    assert ask(watcher, shop, "POST", path).json()["current"] == shop.second.id
    again = ask(watcher, shop, "POST", path)
    assert (again.status_code, again.json()["field"]) == (409, "current")
    assert shop.store.history()[-1].id == shop.second.id, "no further back"
    assert ask(watcher, shop, "POST", "/v1/releases/rollback?curent=x").status_code == 422


@pytest.mark.parametrize("error", [PermissionError("AccessDenied"), OSError(errno.EROFS, "a read-only disk")])
def test_where_the_service_may_not_move_the_pointer_nobody_is_told_to_try_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(uri: str, text: str) -> None:
        del uri, text
        raise error

    monkeypatch.setattr("storecast.store.releases.uris.write_text", refuse)
    watcher = Watcher(shop.settings, ReleaseTable.open)
    for path in ("/v1/releases/rollback", f"/v1/releases/{shop.first.id}/activate"):
        got = ask(watcher, shop, "POST", path)
        assert (got.status_code, got.headers.get("retry-after")) == (500, None)
        assert "releases/*/current.json" in got.json()["cure"]
