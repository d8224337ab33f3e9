"""A file is written under another name and takes its own once it is whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDING = ".part"
"""How the names of drafts end."""

UNFINISHED = (ENDING, ".tmp", ".crdownload")
"""How the names of files end that are being written, by this package or another program."""


@contextmanager
def draft_of(path: Path, *, several: bool = False) -> Iterator[Path]:
    """Where to write the file at `path`; it takes that file's place at the end.

    Where writing fails, the draft is removed and what was at `path` stays.

    Args:
        path: of the file; its folder is there.
        several: many may write it at once. Each has a draft of its own, and the last one stays; the file's
            owner alone may read it.
    """
    draft = _own(path.parent) if several else path.with_name(path.name + ENDING)
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _own(folder: Path) -> Path:
    """A new file that nobody else writes, empty; hidden, as its name begins with a dot."""
    file, name = tempfile.mkstemp(prefix=".", suffix=ENDING, dir=folder)
    os.close(file)
    return Path(name)
