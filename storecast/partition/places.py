"""Which partition each group of a data set belongs to, as the workspace remembers it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import PARTITIONS, part_names

MOST = 10_000
"""Series of a partition, where nobody says otherwise: some gigabytes in every stage."""


@dataclass(frozen=True)
class Places:
    """Which partition each group of a data set belongs to, as `partitions/<name>.json` says it.

    Attributes:
        by: the column that tells the groups.
        groups: the partition of each, from 1 on.
        most: series that a partition may have.
    """

    by: str
    groups: Mapping[str, int]
    most: int = MOST


def kept(store: DatasetStore, dataset: str) -> Places | None:
    """The partitions that a data set has; None where none of them has a release: then nothing is lost."""
    released = (uris.join(store.root, "releases", name) for name in part_names(store, dataset))
    if not any(map(uris.exists, released)):
        return None
    return Places(**json.loads(uris.read_text(pointer(store, dataset))))


def keep(store: DatasetStore, dataset: str, places: Places) -> None:
    """Remember them."""
    text = json.dumps(asdict(places), indent=1, sort_keys=True)
    uris.write_text(pointer(store, dataset), text + "\n")


def pointer(store: DatasetStore, dataset: str) -> str:
    """URI of the file that remembers them."""
    return uris.join(store.root, PARTITIONS, f"{dataset}.json")
