"""A file is written under another name and takes its own once it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDING = ".part"
"""How the names of drafts end."""


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Where to write the file at `path`, by one writer at a time; it takes that file's place at the end.

    Where writing fails, the draft is removed and what was at `path` stays.
    """
    draft = path.with_name(path.name + ENDING)
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
