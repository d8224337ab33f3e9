"""What is old goes, and never what the current release or the one before it needs."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.archive import Watched, apply, load_policy
from storecast.errors import ReleaseError, StoreError
from storecast.loop.decisions import Decision, DecisionLog
from storecast.loop.under_way import held_by_loops
from storecast.monitor.health import Health
from storecast.store import archive as archives
from storecast.store import uri as uris
from storecast.store.archive import Archive
from storecast.store.datasets import Dataset, DatasetStore, describe_files
from storecast.store.releases import CHECKSUMS, Release, ReleaseStore
from storecast.store.retention import RetentionPolicy, Rule, Step, plan

LATER = datetime.now(UTC) + timedelta(days=500)
PATHS = ["datasets/*/*", "datasets/train/*", "releases/*/*", "raw/*", "*/*", "*/*/*", "*"]
STAGES = ("ingest", "features", "train", "evaluate", "forecast")


def make(store: DatasetStore, stage: str, text: str, *inputs: Dataset | str) -> Dataset:
    def build(folder: Path, work: Path) -> dict[str, int]:
        (folder / "part").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "part" / "b.txt").write_text(text * 2)
        return {}

    hashes = {str(i): made if isinstance(made, str) else made.hash for i, made in enumerate(inputs)}
    return store.materialise(stage, inputs=hashes, config={"text": text}, code="1", build=build)


def release(store: DatasetStore, text: str, *parts: Dataset) -> Release:
    releases = ReleaseStore(store, "shop")
    with store.building(text) as folder:
        (folder / "forecasts.txt").write_text(text)
        lineage = {p.key: {k: p.manifest[k] for k in ("stage", "key", "hash", "inputs")} for p in parts}
        (folder / "lineage.json").write_text(json.dumps(lineage))
        return releases.publish(folder, {"cutoff": "2023-07-31", "champion": ""})


def shop(store: DatasetStore, count: int) -> list[tuple[Release, list[Dataset]]]:
    """Releases with raw files, panel, fit and forecast of their own, and features that all share."""
    made = []
    shared = make(store, "features", "shared")
    for number in range(count):
        raw = uris.join(store.root, "raw", f"day-{number}")
        uris.write_text(uris.join(raw, "train.csv"), f"sales {number}")
        panel = make(store, "ingest", f"panel {number}", uris.content_hash(uris.join(raw, "train.csv")))
        fit = make(store, "train", f"fit {number}", panel, shared)
        forecast = make(store, "forecast", f"forecast {number}", fit)
        made.append((release(store, f"release {number}", panel, forecast), [panel, shared, fit, forecast]))
    return made


def activate(store: DatasetStore, made: list[tuple[Release, list[Dataset]]], order: list[int]) -> None:
    for number in order:
        ReleaseStore(store, "shop").activate(made[number][0].id, "next")


def policy(*rules: Rule, archive: str = "") -> RetentionPolicy:
    kinds = {("raw" if "raw/*" in r.paths else f"kind {i}"): r for i, r in enumerate(rules)}
    return RetentionPolicy(archive=archive, kinds=kinds)


def everything(then: str = "archive", archive: str = "") -> RetentionPolicy:
    return policy(
        Rule(paths=("raw/*",), days=1, then=then),  # type: ignore[arg-type]
        Rule(paths=("datasets/*/*", "releases/*/*"), days=1, then=then),  # type: ignore[arg-type]
        archive=archive,
    )


def going(store: DatasetStore, rules: RetentionPolicy, now: datetime = LATER) -> list[Step]:
    return [step for step in plan(store, rules, held_by_loops(store.root), now) if step.action != "keep"]


def whole(store: DatasetStore, dataset: Dataset) -> bool:
    folder, files = Path(dataset.uri), dataset.manifest["files"]
    return bool(folder.is_dir() and describe_files(folder) == files and store.open(dataset.uri).hash)


rules = st.builds(
    Rule,
    paths=st.lists(st.sampled_from(PATHS), min_size=1, max_size=3).map(tuple),
    keep=st.integers(0, 2),
    days=st.integers(1, 600),
    then=st.sampled_from(["archive", "delete"]),
)


@settings(max_examples=12)
@given(
    count=st.integers(1, 3),
    order=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    kinds=st.lists(rules, min_size=1, max_size=3),
)
def test_whatever_the_policy_says_what_releases_in_use_need_is_there_and_whole(
    count: int, order: list[int], kinds: list[Rule]
) -> None:
    folder = tempfile.mkdtemp()
    store = DatasetStore(folder)
    made = shop(store, count)
    activate(store, made, [number % count for number in order])
    releases = ReleaseStore(store, "shop")
    used = releases.trail()[-2:]
    chosen = policy(*kinds)
    apply(store, chosen, going(store, chosen), Watched(store))
    assert releases.trail()[-2:] == used
    for found, datasets in made:
        if found.id in used:
            assert releases.verify(found.id) == []
            assert all(whole(store, dataset) for dataset in datasets)
    for number, (found, _) in enumerate(made):
        if found.id in used:
            assert Path(folder, "raw", f"day-{number}", "train.csv").exists()
    shutil.rmtree(folder)


def test_what_no_release_in_use_needs_is_archived_and_comes_back_as_it_was(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path / "home"))
    made = shop(store, 3)
    activate(store, made, [0, 1, 2])
    chosen = everything(archive=str(tmp_path / "away"))
    steps = going(store, chosen)
    names = {step.item.name for step in steps}
    assert f"releases/shop/{made[0][0].id}" in names
    assert "raw/day-0" in names
    apply(store, chosen, steps, Watched(store))
    old = made[0][1][2]
    assert not Path(old.uri).exists()
    archive = Archive(store.root, chosen.archive)
    assert {item.name for item in archive.names()} == names
    for name in names:
        archive.restore(name)
    assert whole(store, old)
    assert ReleaseStore(store, "shop").verify(made[0][0].id) == []
    assert Path(store.root, "raw/day-0/train.csv").read_text() == "sales 0"
    assert not [
        s for s in going(store, chosen, datetime.now(UTC)) if s.item.name == f"datasets/train/{old.key}"
    ]


def test_an_object_store_is_archived_to_another_and_back(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    store = DatasetStore(f"{root}/home", scratch=tmp_path)
    made = shop(store, 3)
    activate(store, made, [0, 1, 2])
    chosen = everything(archive=f"{root}/away")
    apply(store, chosen, going(store, chosen), Watched(store))
    old = made[0][1][2]
    assert store.find("train", old.key) is None
    assert store.find("train", made[1][1][2].key) is not None
    Archive(store.root, chosen.archive).restore(f"datasets/train/{old.key}")
    assert store.open(old.uri).hash == old.hash
    assert uris.read_text(uris.join(old.uri, "part", "b.txt")) == "fit 0" * 2


def test_the_newest_and_the_young_stay(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    for number in range(3):
        made = make(store, "train", f"fit {number}")
        for path in Path(made.uri).rglob("*"):
            os.utime(path, (1_000_000 + number, 1_000_000 + number))
    rule = Rule(paths=("datasets/*/*",), keep=2, days=30, then="delete")
    (step,) = going(store, policy(rule))
    assert (Path(store.root, step.item.name) / "a.txt").read_text() == "fit 0"
    assert "30 stay" in step.why
    make(store, "features", "young")
    assert len(going(store, policy(rule), datetime.now(UTC))) == 1


def test_the_release_that_a_champion_was_measured_against_stays(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    releases = ReleaseStore(store, "shop")
    made = [item for item, _ in shop(store, 2)]
    with store.building("rival") as folder:
        (folder / "lineage.json").write_text("{}")
        last = releases.publish(folder, {"cutoff": "2023-08-31", "champion": made[0].id})
    releases.activate(last.id, "first")
    gone = {step.item.name for step in going(store, everything())}
    assert f"releases/shop/{made[0].id}" not in gone
    assert f"releases/shop/{made[1].id}" in gone


def decisions(store: DatasetStore, *made: tuple[str, dict[str, str]]) -> list[str]:
    """Decisions of the loop over the shop, each following on the one before; their names."""
    log, last, names = DecisionLog(store.root, "shop"), None, []
    now = datetime(2023, 8, 1, tzinfo=UTC)
    for day, (action, outcome) in enumerate(made):
        when = now + timedelta(days=day)
        health = Health("shop", "r", str(when.date()), ())
        one = Decision.of(health, action, "rule", "why", when).with_outcome(outcome)
        one = one.following(last.id) if last else one
        log.record(one)
        names.append(f"loop/shop/decisions/{one.id}.json")
        last = one
    return names


def away(store: DatasetStore) -> set[str]:
    """What goes where nothing is spared that may go, the loop's decisions among it."""
    everywhere = ("raw/*", "datasets/*/*", "releases/*/*", "loop/*/decisions/*")
    kinds = {"all": Rule(paths=everywhere, days=1, then="delete")}
    chosen = RetentionPolicy(kinds=kinds)
    steps = going(store, chosen)
    apply(store, chosen, steps, Watched(store))
    return {step.item.name for step in steps}


def test_a_challenger_in_shadow_keeps_its_release_all_it_was_made_from_and_its_decisions(
    tmp_path: Path,
) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 4)
    activate(store, made, [1, 2])
    challenger = made[0][0].id
    steps = (("train", {}), ("trained", {"shadow": challenger}), ("refresh", {}))
    names = decisions(store, ("nothing", {}), *steps)
    gone = away(store)
    assert ReleaseStore(store, "shop").verify(challenger) == []
    assert all(whole(store, dataset) for dataset in made[0][1])
    assert Path(store.root, "raw", "day-0", "train.csv").exists()
    assert all(Path(store.root, name).exists() for name in names)
    assert {f"releases/shop/{made[3][0].id}", "raw/day-3"} <= gone, "what nobody needs goes all the same"


@pytest.mark.parametrize("end", ["reject", "promote"])
def test_a_challenger_whose_shadow_is_over_is_no_longer_spared_for_it(end: str, tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 3)
    activate(store, made, [1, 2])
    names = decisions(store, ("trained", {"shadow": made[0][0].id}), (end, {"release": "x"}))
    assert {f"releases/shop/{made[0][0].id}", *names} <= away(store)


def test_a_release_on_trial_keeps_the_one_to_go_back_to_however_often_it_was_refreshed(
    tmp_path: Path,
) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 4)
    before, promoted = made[0][0].id, made[1][0].id
    activate(store, made, [0, 1, 2, 3])
    decisions(store, ("trained", {}), ("promote", {"release": promoted, "before": before}), ("refresh", {}))
    assert not {f"releases/shop/{before}", f"releases/shop/{promoted}"} & away(store)
    assert all(whole(store, dataset) for _, datasets in made for dataset in datasets)


def test_an_open_question_and_a_training_under_way_are_not_forgotten(tmp_path: Path) -> None:
    for action, *rest in (("ask",), ("train",), ("ask", "approve")):
        store = DatasetStore(str(tmp_path / "-".join([action, *rest])))
        names = decisions(store, *((each, {}) for each in ("nothing", "wait", action, *rest)))
        assert away(store) == set()
        assert all(Path(store.root, name).exists() for name in names)


def test_a_shadow_that_begins_meanwhile_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 3)
    activate(store, made, [1, 2])
    chosen, watched = everything(), Watched(store)
    steps = going(store, chosen)
    put: Callable[..., object] = Archive.put

    def put_and_begin(self: Archive, item: object) -> object:
        decisions(store, ("trained", {"shadow": made[0][0].id}))
        return put(self, item)

    monkeypatch.setattr(Archive, "put", put_and_begin)
    with pytest.raises(ReleaseError, match="the loop has begun something meanwhile"):
        apply(store, chosen, steps, watched)
    assert all(whole(store, dataset) for dataset in made[0][1])


def test_a_refreshed_release_keeps_what_its_model_was_made_from(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    (first, datasets), *_ = shop(store, 1)
    lineage = json.loads((Path(first.uri) / "lineage.json").read_text())
    with store.building("refreshed") as folder:
        (folder / "lineage.json").write_text(json.dumps({**lineage, "refreshed": first.id}))
        again = ReleaseStore(store, "shop").publish(folder, {"cutoff": "2023-08-01", "champion": first.id})
    ReleaseStore(store, "shop").activate(again.id, "refresh")
    assert not away(store)
    assert all(whole(store, dataset) for dataset in datasets)


def test_nothing_goes_where_a_release_in_use_cannot_be_read(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 2)
    activate(store, made, [0, 1])
    shutil.rmtree(made[0][0].uri)
    with pytest.raises(ReleaseError):
        plan(store, everything(), [], LATER)


def test_a_copy_that_does_not_read_back_as_it_was_keeps_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DatasetStore(str(tmp_path / "home"))
    old = make(store, "train", "fit")

    def torn(file: Path, uri: str) -> None:
        uris.local_path(uri).parent.mkdir(parents=True, exist_ok=True)
        uris.local_path(uri).write_bytes(file.read_bytes()[:-20])

    monkeypatch.setattr(archives, "_upload", torn)
    chosen = everything(archive=str(tmp_path / "away"))
    with pytest.raises(StoreError, match="the original stays"):
        apply(store, chosen, going(store, chosen), Watched(store))
    assert whole(store, old)
    assert Archive(store.root, chosen.archive).names() == []


def test_a_damaged_archive_restores_nothing(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    old = make(store, "train", "fit")
    chosen = everything()
    apply(store, chosen, going(store, chosen), Watched(store))
    archive = Archive(store.root)
    (record,) = archive.names()
    path = tmp_path / "archive" / f"{record.name}.json"
    content = json.loads(path.read_text())
    content["files"]["a.txt"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="damaged"):
        archive.restore(record.name)
    assert not Path(old.uri).exists()


def _archive_and_die(root: str, moment: str) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    store = DatasetStore(root)
    if moment == "removing":
        import components.archive as stage

        stage.remove = die
    else:
        setattr(archives.uris if moment == "write_text" else archives, moment, die)
    apply(store, everything(), going(store, everything()), Watched(store))


@pytest.mark.parametrize("moment", ["_upload", "write_text", "removing"])
def test_a_killed_archive_leaves_all_readable_and_the_next_run_finishes_it(
    moment: str, tmp_path: Path
) -> None:
    store = DatasetStore(str(tmp_path))
    old = [make(store, "train", f"fit {number}") for number in range(2)]
    process = multiprocessing.get_context("spawn").Process(
        target=_archive_and_die, args=(str(tmp_path), moment)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert all(whole(store, made) for made in old)
    apply(store, everything(), going(store, everything()), Watched(store))
    assert len(Archive(store.root).names()) == 2
    assert not any(Path(made.uri).exists() for made in old)


def test_a_rest_that_a_killed_removal_left_does_not_replace_the_archive(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    store = DatasetStore(root, scratch=tmp_path)
    old = make(store, "train", "fit")
    (step,) = going(store, everything())
    Archive(root).put(step.item)
    fs, path = uris.filesystem(uris.join(old.uri, "manifest.json"))
    fs.rm(path)
    assert store.find("train", old.key) is None
    apply(store, everything(), going(store, everything()), Watched(store))
    assert not uris.exists(uris.join(old.uri, "a.txt"))
    Archive(root).restore(f"datasets/train/{old.key}")
    assert store.open(old.uri).hash == old.hash


def test_a_release_that_becomes_current_meanwhile_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DatasetStore(str(tmp_path))
    made = shop(store, 3)
    activate(store, made, [1, 2])
    steps = going(store, everything())
    put: Callable[..., object] = Archive.put

    def put_and_roll_back(self: Archive, item: object) -> object:
        ReleaseStore(store, "shop").activate(made[0][0].id, "by hand")
        return put(self, item)

    monkeypatch.setattr(Archive, "put", put_and_roll_back)
    with pytest.raises(ReleaseError, match="meanwhile"):
        apply(store, everything(), steps, Watched(store))
    assert all(whole(store, dataset) for dataset in made[0][1])


def test_the_policy_that_ships_is_one_and_pointers_are_no_items(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    activate(store, shop(store, 1), [0])
    names = {step.item.name for step in plan(store, load_policy("default"), [], LATER)}
    assert "releases/shop/current.json" not in names
    assert any(name.startswith("datasets/ingest/") for name in names)
    assert any(name == "raw/day-0" for name in names)
    assert (tmp_path / "releases" / "shop").joinpath("current.json").exists()
    assert CHECKSUMS == "checksums.json"
