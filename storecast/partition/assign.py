"""Which partition each group belongs to: balanced at first, and the same ever after.

A partition is a data set with releases, a champion and a record of its own, so a group that has its place
keeps it; what is new goes where there is room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from storecast.errors import DataError
from storecast.partition.groups import Group


def assign(groups: Mapping[str, Group], most: int, before: Mapping[str, int]) -> dict[str, int]:
    """The partition of each group, from 1 on.

    The largest groups are placed first, each into the emptiest partition that it fits in (longest processing
    time first, Graham 1969). A group that is too large by itself has a partition of its own. One without
    history goes to others that have some: models learn from these.

    Args:
        groups: what there is.
        most: series that a partition may have.
        before: the partition of groups that were placed earlier; those that are gone keep their places, too.

    Raises:
        DataError: no group has a history.
    """
    if not any(group.rows for group in groups.values()):
        raise DataError("there is no history to cut", expected="rows with a value in the column to cut by")
    places = dict(before)
    loads: Counter[int] = Counter(dict.fromkeys(before.values(), 0))
    for name, group in groups.items():
        if name in before:
            loads[before[name]] += group.series
    new = sorted((name for name in groups if name not in before), key=lambda n: (-groups[n].series, n))
    old = [name for name in new if groups[name].rows]
    if not before:
        total = sum(groups[name].series for name in old)
        loads.update(dict.fromkeys(range(1, -(-total // most) + 1), 0))
    for name in old:
        series = groups[name].series
        room = [n for n, load in loads.items() if not load or load + series <= most]
        number = emptiest(loads, room) if room else max(loads) + 1
        places[name] = number
        loads[number] += series
    lively = {places[name] for name, group in groups.items() if group.rows}
    for name in (name for name in new if not groups[name].rows):
        number = emptiest(loads, lively)
        places[name] = number
        loads[number] += groups[name].series
    return places


def emptiest(loads: Mapping[int, int], among: Iterable[int]) -> int:
    """The partition with the fewest series; of several the first."""
    return min(among, key=lambda number: (loads[number], number))
