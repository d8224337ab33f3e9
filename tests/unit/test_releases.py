"""Releases: immutable folders and one pointer."""

from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from storecast.errors import ReleaseError, StoreError
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(DatasetStore(str(tmp_path)), "shop")


def _publish(store: ReleaseStore, text: str) -> Release:
    with store.store.building(text) as folder:
        (folder / "forecasts.txt").write_text(text)
        return store.publish(folder, {"cutoff": "2023-07-31", "dataset": "shop"})


def test_a_published_release_is_not_current_before_it_is_activated(store: ReleaseStore) -> None:
    made = _publish(store, "one")
    assert store.current() is None
    store.activate(made.id, "first")
    current = store.current()
    assert current is not None
    assert current.id == made.id


def test_the_same_content_is_the_same_release(store: ReleaseStore) -> None:
    assert _publish(store, "one").id == _publish(store, "one").id
    assert len(store.ids()) == 1


def test_rolling_back_returns_to_the_release_before(store: ReleaseStore) -> None:
    one, two = _publish(store, "one"), _publish(store, "two")
    store.activate(one.id, "first")
    store.activate(two.id, "second")
    store.activate(store.before_current().id, "rolled back")
    assert [entry.id for entry in store.history()] == [one.id, two.id, one.id]


def test_rolling_back_twice_does_not_go_forward_again(store: ReleaseStore) -> None:
    releases = [_publish(store, name) for name in ("one", "two", "three")]
    for release in releases:
        store.activate(release.id, "next")
    store.activate(store.before_current().id, "rolled back")
    assert store.before_current().id == releases[0].id


def test_rolling_back_the_first_release_says_that_there_is_none_before(store: ReleaseStore) -> None:
    store.activate(_publish(store, "one").id, "first")
    with pytest.raises(ReleaseError, match="no earlier release"):
        store.before_current()


def test_activating_the_current_release_changes_nothing(store: ReleaseStore) -> None:
    made = _publish(store, "one")
    store.activate(made.id, "first")
    store.activate(made.id, "again")
    assert len(store.history()) == 1


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda f: (f / "forecasts.txt").write_text("other"), r"forecasts\.txt was changed"),
        (lambda f: (f / "forecasts.txt").unlink(), r"forecasts\.txt is missing"),
        (lambda f: (f / "extra.txt").write_text("x"), r"extra\.txt does not belong"),
    ],
)
def test_a_damaged_release_is_named_and_not_activated(
    store: ReleaseStore, damage: object, found: str
) -> None:
    made = _publish(store, "one")
    damage(store.path(made))  # type: ignore[operator]
    with pytest.raises(ReleaseError, match=found):
        store.activate(made.id, "first")
    assert store.current() is None


def test_an_unknown_release_is_answered_with_those_that_exist(store: ReleaseStore) -> None:
    made = _publish(store, "one")
    with pytest.raises(ReleaseError, match=made.id):
        store.get("2020")


def test_a_release_is_found_by_the_beginning_of_its_id(store: ReleaseStore) -> None:
    made = _publish(store, "one")
    assert store.get(made.id[:-3]).id == made.id


def test_the_registry_is_behind_until_it_has_followed(store: ReleaseStore) -> None:
    one, two = _publish(store, "one"), _publish(store, "two")
    store.activate(one.id, "first")
    store.activate(two.id, "over HTTP", registry_behind=True)
    store.registry_followed(one.id)
    assert [entry.registry_behind for entry in store.history()] == [False, True]
    store.registry_followed(two.id)
    assert [entry.registry_behind for entry in store.history()] == [False, False]
    assert [entry.id for entry in store.history()] == [one.id, two.id]


@pytest.fixture(params=["disk", "objects"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> ReleaseStore:
    root = str(tmp_path) if request.param == "disk" else f"memory://{uuid4().hex}"
    return ReleaseStore(DatasetStore(root, scratch=tmp_path / "scratch"), "shop")


def test_a_release_whose_last_file_is_not_there_yet_is_not_listed(anywhere: ReleaseStore) -> None:
    made, half = _publish(anywhere, "one"), _publish(anywhere, "two")
    uris.remove(uris.join(half.uri, "checksums.json"))
    assert anywhere.ids() == [made.id]
    assert anywhere.get("2023").id == made.id


@pytest.mark.parametrize("file", ["checksums.json", "release.json"])
def test_a_release_that_is_half_there_is_said_to_be_incomplete(anywhere: ReleaseStore, file: str) -> None:
    made = _publish(anywhere, "one")
    uris.remove(uris.join(made.uri, file))
    for ask in (anywhere.get, anywhere.verify, lambda name: anywhere.activate(name, "first")):
        with pytest.raises(ReleaseError, match=f"release {made.id} is incomplete"):
            ask(made.id)


def test_a_half_copy_of_a_release_is_not_kept(tmp_path: Path) -> None:
    store = ReleaseStore(DatasetStore(f"memory://{uuid4().hex}", scratch=tmp_path), "shop")
    made = _publish(store, "one")
    last = uris.join(made.uri, "checksums.json")
    sums = uris.read_text(last)
    uris.remove(last)
    with pytest.raises(StoreError, match="incomplete"):
        store.path(made)
    uris.write_text(last, sums)
    assert store.verify(made.id) == []
    copy = store.path(made)
    for file in ("checksums.json", "forecasts.txt"):
        (copy / file).unlink()
    assert store.verify(made.id) == []


def test_a_download_that_fails_or_is_killed_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    store = ReleaseStore(DatasetStore(f"memory://{uuid4().hex}", scratch=tmp_path), "shop")
    made = _publish(store, "one")
    unwritable = uris.join(made.uri, "n" * 300)
    uris.write_text(unwritable, "no file of a disk has a name this long")
    with pytest.raises(OSError, match="name too long"):
        store.path(made)
    cache = tmp_path / "releases"
    assert not any(path.is_dir() for path in cache.iterdir())
    (cache / f".{made.id}.part").mkdir()
    (cache / f".{made.id}.part" / "killed.txt").touch()
    uris.remove(unwritable)
    assert store.verify(made.id) == []
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [made.id]


@pytest.fixture
def shared(tmp_path: Path) -> tuple[ReleaseStore, ReleaseStore]:
    """A store in an object store as two machines see it."""
    root = f"memory://{uuid4().hex}"
    here, there = (ReleaseStore(DatasetStore(root, scratch=tmp_path / name), "shop") for name in "ab")
    return here, there


def test_what_another_machine_activates_while_a_release_is_verified_is_not_lost(
    shared: tuple[ReleaseStore, ReleaseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = shared
    one, two, three = (_publish(here, name) for name in ("one", "two", "three"))
    here.activate(one.id, "first")
    download = MemoryFileSystem.get

    def activated_meanwhile(*arguments: object, **options: object) -> None:
        monkeypatch.undo()
        there.activate(two.id, "by another machine")
        download(*arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get", activated_meanwhile)
    here.activate(three.id, "verified")
    assert [entry.id for entry in here.history()] == [one.id, two.id, three.id]


def test_a_release_that_was_to_follow_another_is_not_activated_where_that_has_gone(
    shared: tuple[ReleaseStore, ReleaseStore],
) -> None:
    here, _ = shared
    one, two, three = (_publish(here, name) for name in ("one", "two", "three"))
    here.activate(two.id, "first")
    with pytest.raises(ReleaseError, match=f"became current meanwhile(.|\n)*found: {two.id}"):
        here.activate(three.id, "rolled back", instead_of=one.id)
    assert here.activate(three.id, "rolled back", instead_of=two.id).id == three.id
