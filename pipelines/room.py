"""Whether this machine has room for a panel: told before hours are spent on a run that cannot end."""

from __future__ import annotations

from pathlib import Path

import psutil

GIB = 1 << 30
BASE_BYTES, ROW_BYTES = 0.3 * GIB, 50
"""What the largest stages hold, a row of sales: measured at 3, 30 and 300 million (docs/scale.md)."""
CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where a container's limit and what it has taken of it stand, by version of control groups."""


def free_bytes() -> int:
    """Memory that a run may still take here: what the machine has, or what a container's limit leaves."""
    free: list[int] = [psutil.virtual_memory().available]
    for folder, *names in CGROUPS:
        try:
            limit, taken = (int(Path(folder, name).read_text()) for name in names)
            lines = Path(folder, "memory.stat").read_text().split()
        except (OSError, ValueError):  # there is no such file, or no limit: "max"
            continue
        cached = dict(zip(lines[::2], lines[1::2], strict=True)).get("inactive_file", "0")  # goes when needed
        free.append(limit - taken + int(cached))
    return max(0, min(free))


def shortage(rows: int, free: int) -> str:
    """What to tell somebody whose panel may be too large for the memory that is free; "" where it is not.

    Args:
        rows: of sales.
        free: bytes.
    """
    needed = BASE_BYTES + ROW_BYTES * rows
    if needed <= free:
        return ""
    return (
        f"Some {rows / 1e6:,.0f} million rows: stages of this run may take {needed / GIB:,.0f} GiB of "
        f"memory, and {free / GIB:,.1f} GiB are free. With --partition 10000 the panel is cut into data sets "
        "of at most so many series, and a run takes what one of them does."
    )
