"""What arrives for a data set that was cut, dealt to its partitions: each has the rows of its own groups."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storecast.actuals import Actuals
from storecast.dataset_config import DatasetConfig
from storecast.errors import ReleaseError
from storecast.ingest.arrived import raw_tables
from storecast.ingest.ledger import Arrival
from storecast.partition.assign import emptiest
from storecast.partition.files import cut_arrival, key_values, names_of
from storecast.partition.groups import Grouping
from storecast.partition.places import Places, keep, kept
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore

DEALT = "dealt"


@dataclass(frozen=True)
class Partition:
    """A partition that what arrives is dealt to.

    Attributes:
        number: from 1 on.
        series: how many it has.
        config: its data set config.
    """

    number: int
    series: int
    config: DatasetConfig


def deal(store: DatasetStore, config: DatasetConfig, data: str, partitions: Sequence[Partition]) -> list[str]:
    """Deal the files that have arrived since the last time, in their order.

    A group that is new goes to the partition with the fewest series, and stays there. Rows without a group go
    to the first one, whose ingest finds them wrong. Dealing again what was dealt changes nothing.

    Args:
        store: of the workspace.
        config: of the data set that was cut.
        data: folder or URI of its raw files.
        partitions: all there are.

    Returns:
        What a partition did not take, a sentence each.

    Raises:
        ReleaseError: the data set was not cut, or no partition has a release.
        DataError: a file is damaged.
    """
    whole = Actuals(store.root, config)
    arrivals = whole.arrivals()
    new = [each for each in arrivals if not uris.exists(_mark(whole, each))]
    if not new:
        return []
    before = kept(store, config.name)
    if before is None:
        raise ReleaseError(f"data set {config.name} has no partitions", cure="storecast run --partition")
    grouping = Grouping.of(config, data, before.by, arrivals)
    places = _placed(before, _groups(config, grouping, new), partitions)
    if places != before:
        keep(store, config.name, places)
    own = {each.number: Actuals(store.root, each.config) for each in partitions}
    notes = []
    for arrival in new:
        with tempfile.TemporaryDirectory(prefix="storecast-deal-") as folder:
            files = cut_arrival(config, grouping, places.groups, sorted(own), arrival, Path(folder))
            table = names_of(config)[arrival.table]
            told = {own[n].config.name: _hand(own[n], path, table) for n, path in files.items()}
        uris.write_text(_mark(whole, arrival), json.dumps(told, indent=1, sort_keys=True) + "\n")
        notes += [f"{name} did not take {arrival.name}: {why}" for name, why in told.items() if why]
    return notes


def _hand(actuals: Actuals, file: Path, table: str) -> str:
    """Give a partition its rows; why it did not take them, "" where it did."""
    if table not in raw_tables(actuals.config):
        return f"it has no rows of {table} in its raw files"
    return actuals.add(str(file), table).reason


def _groups(config: DatasetConfig, grouping: Grouping, arrivals: Iterable[Arrival]) -> list[str]:
    """The groups of files that have arrived, sorted."""
    values = {value for arrival in arrivals for value in key_values(config, grouping, arrival)}
    return sorted({group for value in values if (group := grouping.group(value))})


def _placed(before: Places, groups: Iterable[str], partitions: Sequence[Partition]) -> Places:
    """The places with those of new groups."""
    loads = Counter({each.number: each.series for each in partitions})
    places = dict(before.groups)
    for name in groups:
        if name not in places:
            places[name] = emptiest(loads, loads)
            loads[places[name]] += 1
    return replace(before, groups=places)


def _mark(whole: Actuals, arrival: Arrival) -> str:
    """Where it is kept that a file has been dealt, and to whom."""
    return uris.join(whole.uri, DEALT, f"{arrival.hash}.json")
