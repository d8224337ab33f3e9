"""The work folder of a build under way: what it writes there outlives the process that builds.

On a disk the folder itself stays until the build is done. Where data sets lie in an object store, a build
may go on on another machine, so the folder's files are copied there as they change.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storecast.store import uri as uris
from storecast.store.draft import UNFINISHED, draft_of

SECONDS = 10.0
"""How often changed files are copied."""


@contextmanager
def work_folder(local: Path, remote: str, seconds: float = SECONDS) -> Iterator[Path]:
    """A folder to keep checkpoints in, with what an earlier attempt left there; emptied once all went well.

    Args:
        local: the folder.
        remote: URI of its copy; "" where the folder is enough.
        seconds: how often changed files are copied.
    """
    local.mkdir(parents=True, exist_ok=True)
    if remote:
        _download(remote, local)
        with _copied(local, remote, seconds):
            yield local
        uris.remove(remote)
    else:
        yield local
    shutil.rmtree(local, ignore_errors=True)


def _download(remote: str, local: Path) -> None:
    fs, path = uris.filesystem(remote)
    for found in fs.find(path):
        target = local / str(found).removeprefix(path.rstrip("/")).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(target) as draft:
            fs.get_file(found, str(draft))


@contextmanager
def _copied(local: Path, remote: str, seconds: float) -> Iterator[None]:
    """Copy what changes meanwhile, and at the end once more."""
    done = threading.Event()
    known: dict[Path, int] = {path: path.stat().st_mtime_ns for path in _files(local)}

    def copy() -> None:
        fs, target = uris.filesystem(remote)
        for path in _files(local):
            changed = path.stat().st_mtime_ns
            if known.get(path) != changed:
                fs.put_file(str(path), uris.join(target, path.relative_to(local).as_posix()))
                known[path] = changed

    def watch() -> None:
        while not done.wait(seconds):
            try:
                copy()
            except OSError:
                continue  # storage is away for a while; the next copy holds it all

    thread = threading.Thread(target=watch, name="work folder", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the build's own error counts
            copy()
        raise
    finally:
        done.set()
        thread.join()


def _files(folder: Path) -> list[Path]:
    """Finished files: those under a temporary name are still being written."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in UNFINISHED]
