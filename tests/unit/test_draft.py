"""A file is either what it was or what it is to be, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from storecast.store import uri as uris
from storecast.store.draft import draft_of


def test_what_was_written_takes_the_files_place(tmp_path: Path) -> None:
    file = tmp_path / "figures.csv"
    file.write_text("old")
    with draft_of(file) as draft:
        draft.write_text("new")
        assert file.read_text() == "old", "until all is written"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_where_writing_fails_the_file_stays_as_it_was_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "figures.csv"
    file.write_text("old")
    with pytest.raises(OSError, match="no space"), draft_of(file) as draft:
        draft.write_text("ne")
        raise OSError("no space")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), draft_of(tmp_path / "figures.csv"):
        pass
    assert not list(tmp_path.iterdir())


def test_each_of_several_that_write_a_file_has_a_draft_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "pointer.json"
    with draft_of(file, several=True) as first:
        with draft_of(file, several=True) as second:
            second.write_text("second")
        assert file.read_text() == "second"
        first.write_text("first")
    assert file.read_text() == "first", "the last one stays"
    assert list(tmp_path.iterdir()) == [file]
    assert file.stat().st_mode & 0o077 == 0, "its owner alone may read it"


def test_a_text_whose_writing_fails_leaves_the_one_before_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "pointer.json"
    uris.write_text(str(file), "old")
    with pytest.raises(UnicodeEncodeError):
        uris.write_text(str(file), "new \udcff")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
