"""Data sets: built once, whole or not at all, and named by what they were made from."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from storecast.errors import StoreError
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore

Build = Callable[[Path, Path], Mapping[str, Any]]


def _text(content: str) -> Build:
    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        (folder / "a.txt").write_text(content)
        return {"length": len(content)}

    return build


def _make(store: DatasetStore, build: Build, **inputs: str) -> Dataset:
    return store.materialise("stage", inputs=inputs, config={"k": 1}, code="c", build=build)


def test_the_same_inputs_are_built_once(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    first = _make(store, _text("one"), panel="x")
    again = _make(store, _text("another that must not be built"), panel="x")
    assert again.uri == first.uri
    assert (store.path(again) / "a.txt").read_text() == "one"


def test_other_inputs_make_another_data_set(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    assert _make(store, _text("one"), panel="x").uri != _make(store, _text("one"), panel="y").uri


def test_equal_content_has_an_equal_hash_whatever_made_it(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    assert _make(store, _text("one"), panel="x").hash == _make(store, _text("one"), panel="y").hash


def test_the_manifest_tells_counts_files_and_inputs(tmp_path: Path) -> None:
    made = _make(DatasetStore(str(tmp_path)), _text("four"), panel="x")
    assert made.counts == {"length": 4}
    assert made.manifest["inputs"] == {"panel": "x"}
    assert made.manifest["files"]["a.txt"]["bytes"] == 4


def test_a_build_that_fails_leaves_nothing_to_be_found(tmp_path: Path) -> None:
    def fail(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        (folder / "half.txt").write_text("half")
        raise OSError("disk full")

    store = DatasetStore(str(tmp_path))
    with pytest.raises(OSError, match="disk full"):
        _make(store, fail)
    assert not list(tmp_path.rglob("half.txt"))
    assert not (tmp_path / "datasets").exists()


def _die_in_the_middle(root: str) -> None:
    def die(folder: Path, work: Path) -> Mapping[str, Any]:
        (folder / "half.txt").write_text("half")
        (work / "checkpoint").write_text("7")
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    _make(DatasetStore(root), die)


def test_a_killed_build_leaves_its_checkpoint_and_no_half_data_set(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_in_the_middle, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "datasets").exists()

    def go_on(folder: Path, work: Path) -> Mapping[str, Any]:
        (folder / "whole.txt").write_text((work / "checkpoint").read_text())
        return {}

    store = DatasetStore(str(tmp_path))
    made = _make(store, go_on)
    assert (store.path(made) / "whole.txt").read_text() == "7"
    assert not list(tmp_path.rglob("half.txt"))


def test_what_is_not_a_finished_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.json"):
        DatasetStore(str(tmp_path)).open(str(tmp_path / "nothing"))


def test_an_object_store_serves_as_well_as_a_folder(tmp_path: Path) -> None:
    store = DatasetStore("memory://bucket/prefix", scratch=tmp_path)
    made = _make(store, _text("far away"), panel="x")
    assert made.uri.startswith("memory://bucket/prefix/datasets/stage/")
    assert (store.path(made) / "a.txt").read_text() == "far away"
    assert _make(store, _text("not built again"), panel="x").hash == made.hash


def test_storage_without_a_driver_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="storecast\\[s3\\]"):
        DatasetStore("nosuchstore://bucket", scratch=tmp_path).open("nosuchstore://bucket/x")


def test_a_models_code_version_does_not_depend_on_another_model() -> None:
    assert code_version("storecast.models.naive") != code_version("storecast.models.gbm")
    assert code_version("storecast.models.naive") == code_version("storecast.models.naive")


def test_a_change_in_an_imported_file_changes_the_code_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mymodel.py").write_text("import storecast.panel\n")
    before = code_version("mymodel")
    (tmp_path / "mymodel.py").write_text("import storecast.panel\nX = 1\n")
    code_version.cache_clear()
    assert code_version("mymodel") != before
