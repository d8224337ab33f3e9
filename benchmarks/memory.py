"""Memory of processes: this one's peak over a block, and a tree's while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS, SHARE = 0.2, 0.04
"""Between two samples, at least; and the share of a core that they take, or what is measured is slowed."""
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


def _peak_with(peak: int, pid: int) -> int:
    """The peak so far, or the bytes of a process and all below it where they are more by now.

    Shared pages count once (PSS). The kernel takes long to tell these, and is asked only where all pages
    together, which are no fewer, are beyond the peak.
    """
    try:
        top = psutil.Process(pid)
        processes = [top, *top.children(recursive=True)]
    except psutil.Error:
        return peak
    if sum(_bytes(process, lambda each: each.memory_info().rss) for process in processes) <= peak:
        return peak
    return max(peak, sum(_bytes(process, lambda each: each.memory_full_info().pss) for process in processes))


def _bytes(process: psutil.Process, of: Callable[[psutil.Process], int]) -> int:
    """Of a process that may have ended."""
    try:
        return of(process)
    except psutil.Error:
        return 0


@contextmanager
def tree_peak(pid: int) -> Iterator[Peak]:
    """The peak of a tree of processes inside the block, by samples."""
    found, done = Peak(), threading.Event()

    def watch() -> None:
        pause = SAMPLE_SECONDS
        while not done.wait(pause):
            began = time.thread_time()
            found.bytes = _peak_with(found.bytes, pid)
            pause = max(SAMPLE_SECONDS, (time.thread_time() - began) / SHARE)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found.bytes = _peak_with(found.bytes, pid)
