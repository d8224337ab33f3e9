"""Memory of processes: this one's peak over a block, and a tree's while it works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.2
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
NEW_PEAK = "5"


@dataclass
class Peak:
    """Bytes at the peak."""

    bytes: int = 0


@contextmanager
def peak_beyond() -> Iterator[Peak]:
    """What this process takes at its peak inside the block beyond what it has before (Linux).

    The kernel keeps the peak and forgets it when asked to, so nothing between two samples is missed.
    """
    found = Peak()
    RESET.write_text(NEW_PEAK)
    before = _status("VmRSS")
    yield found
    found.bytes = _status("VmHWM") - before


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def tree_memory(pid: int) -> int:
    """Bytes of a process and all below it, shared pages counted once (PSS)."""
    total = 0
    try:
        top = psutil.Process(pid)
        processes = [top, *top.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


@contextmanager
def tree_peak(pid: int) -> Iterator[Peak]:
    """The peak of a tree of processes inside the block, by samples."""
    found, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            found.bytes = max(found.bytes, tree_memory(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found.bytes = max(found.bytes, tree_memory(pid))
