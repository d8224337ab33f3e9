"""A lock on a file, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ALONE, WITH_OTHERS, AT_ONCE = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB


@contextmanager
def locked(path: Path, how: int = ALONE) -> Iterator[bool]:
    """Hold a lock on this machine; False where it is asked for AT_ONCE and not free.

    Args:
        path: of the lock's file, which is made and stays.
        how: ALONE or WITH_OTHERS, `| AT_ONCE` to not wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
        else:
            yield True
