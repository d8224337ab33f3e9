"""A build's work folder outlives the process that builds, also where data sets lie in an object store."""

from __future__ import annotations

import threading
from pathlib import Path

import fsspec
import pytest

from storecast.store.datasets import DatasetStore
from storecast.store.work import work_folder


class Killed(BaseException):
    """The process ends here."""


def build_of(store: DatasetStore, steps: list[int], stop_after: int) -> None:
    """A build of three steps that notes each in its work folder, and dies after some of them."""

    def build(folder: Path, work: Path) -> dict[str, int]:
        note = work / "step"
        first = int(note.read_text()) if note.exists() else 0
        for step in range(first + 1, 4):
            steps.append(step)
            note.write_text(str(step))
            if step == stop_after:
                raise Killed
        (folder / "result").write_text("done")
        return {}

    store.materialise("stage", inputs={}, config={}, code="1", build=build)


@pytest.mark.parametrize("root", ["memory://bucket/goes-on", "local"])
def test_a_build_that_died_goes_on_where_it_stopped(root: str, tmp_path: Path) -> None:
    place = str(tmp_path / "store") if root == "local" else root
    steps: list[int] = []
    scratch = [tmp_path / "scratch"] * 2 if root == "local" else [tmp_path / "one", tmp_path / "another"]
    with pytest.raises(Killed):
        build_of(DatasetStore(place, scratch=scratch[0]), steps, stop_after=2)
    build_of(DatasetStore(place, scratch=scratch[1]), steps, stop_after=0)
    assert steps == [1, 2, 3]


def test_a_finished_build_leaves_no_work_behind(tmp_path: Path) -> None:
    store = DatasetStore("memory://bucket/clean", scratch=tmp_path / "scratch")
    build_of(store, [], stop_after=0)
    assert not fsspec.filesystem("memory").find("/bucket/clean/work")
    assert not [p for p in (tmp_path / "scratch" / "work").rglob("*") if p.is_file()]


def test_a_change_is_copied_while_the_build_goes_on(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    with work_folder(tmp_path / "work", "memory://bucket/live", seconds=0.01) as work:
        (work / "deep").mkdir()
        (work / "deep" / "checkpoint").write_text("1")
        (work / "half.tmp").write_text("not whole")
        seen = threading.Event()
        for _ in range(1000):
            if memory.exists("/bucket/live/deep/checkpoint") or seen.wait(0.01):
                break
        assert memory.cat_file("/bucket/live/deep/checkpoint") == b"1"
        assert not memory.exists("/bucket/live/half.tmp")
