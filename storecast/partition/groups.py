"""The groups that a panel is cut by, and how many series and rows each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.dataset_config import DatasetConfig
from storecast.errors import ConfigError
from storecast.ingest.context import Context
from storecast.ingest.ledger import Arrival
from storecast.ingest.source import Source
from storecast.ingest.tables import read_static
from storecast.partition.words import Words


@dataclass(frozen=True)
class Group:
    """What a group has: its series, and the rows of its history."""

    series: int = 0
    rows: int = 0


Counts = Mapping[str, Mapping[str, Group]]
"""By key, then by the key's value, what the group of that value has."""


@dataclass(frozen=True)
class Grouping:
    """The column that a panel is cut by.

    Attributes:
        by: a key, or a static column.
        key: the key that tells it.
        of_key: the group of each value of that key; None where the key is the column itself.
    """

    by: str
    key: str
    of_key: Mapping[str, str] | None = None

    @classmethod
    def of(cls, config: DatasetConfig, source: str, by: str, arrivals: Sequence[Arrival] = ()) -> Self:
        """The grouping by a column.

        Args:
            config: what the files mean.
            source: folder of the raw files: a path or an fsspec URI.
            by: a key, or a static column of a table that is joined on one key.
            arrivals: files that have arrived after the raw files.

        Raises:
            ConfigError: the data set cannot be cut by that column.
            DataError: the static table is missing or damaged.
        """
        if by in config.keys:
            return cls(by, by)
        single = [t for t in config.tables if t.kind == "static" and len(t.join) == 1]
        single = [table for table in single if set(table.join) <= set(config.keys)]
        for table in single:
            if by in table.columns:
                alone = config.model_copy(update={"tables": [table]})
                context = Context(alone, Source(source, config.csv), pd.Timestamp.max, arrivals)
                ((_, frame),) = read_static(context)
                key = next(iter(table.join))
                return cls(by, key, dict(zip(frame[key], frame[by], strict=True)))
        columns = [*config.keys, *(name for table in single for name in table.columns)]
        raise ConfigError(
            f"the panel cannot be cut by {by!r}",
            where=f"data set {config.name}",
            expected=f"one of {', '.join(columns)}",
            cure="name a key, or a static column of a table that is joined on one key",
        )

    def group(self, value: str) -> str:
        """The group of a value of the key; "" where it has none."""
        return value if self.of_key is None else self.of_key.get(value, "")

    def groups(self, counts: Counts) -> dict[str, Group]:
        """What each group has.

        Args:
            counts: as `count_keys` gives it.
        """
        found: dict[str, Group] = {}
        for value, own in counts[self.key].items():
            if name := self.group(value):
                before = found.get(name, Group())
                found[name] = Group(before.series + own.series, before.rows + own.rows)
        return found

    def column(self, join: Mapping[str, str]) -> tuple[str, Grouping] | None:
        """The column of a further table that tells its rows' groups, and by which grouping.

        Args:
            join: the table's columns by what they are joined on.

        Returns:
            None where the table's rows are of no group: every partition needs them all.
        """
        if self.key in join:
            return join[self.key], self
        if self.by in join:
            return join[self.by], replace(self, key=self.by, of_key=None)
        return None


def count_keys(config: DatasetConfig, source: str) -> dict[str, dict[str, Group]]:
    """What the values of each key have, in the history and the future rows.

    Memory holds eight bytes a series, and each key's different values.

    Args:
        config: what the files mean.
        source: folder of the raw files: a path or an fsspec URI.

    Returns:
        By key and value, its series (of which some may turn out wrong) and the rows of its history. Rows
        without a value are of no group.

    Raises:
        DataError: a file is missing or damaged.
    """
    census = _Census(config)
    rows = census.take(source, config.train)
    if config.future:
        census.take(source, config.future)
    return {
        key: {
            text: Group(_at(series, number), _at(here, number))
            for number, text in enumerate(words.texts)
            if text
        }
        for key, words, series, here in zip(config.keys, census.words, census.series, rows, strict=True)
    }


def coarsest_key(counts: Counts, most: int) -> str:
    """The key to cut by where nobody says: the one with the fewest values of which none is too large.

    A model per value of such a key (`storecast.models.booster.splitting_column`) sees as much of its group
    in a partition as in the panel.

    Args:
        counts: as `count_keys` gives it.
        most: series that a partition may have.
    """
    sizes = {key: len(groups) for key, groups in counts.items()}
    fit = [
        key for key, groups in counts.items() if max((g.series for g in groups.values()), default=0) <= most
    ]
    return min(fit, key=lambda key: sizes[key]) if fit else max(sizes, key=lambda key: sizes[key])


class _Census:
    """The different combinations of keys, as they come.

    Attributes:
        words: the values of each key.
        series: how many combinations each value has, by key and the value's number.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._seen = _Seen()
        self.words = [Words(config.csv) for _ in config.keys]
        self.series = [np.zeros(0, dtype=np.int64) for _ in config.keys]

    def take(self, source: str, files: Sequence[str]) -> list[NDArray[np.int64]]:
        """Read the keys of a table's rows; how many rows each value has, by key."""
        columns = list(self._config.keys.values())
        rows = [np.zeros(0, dtype=np.int64) for _ in columns]
        for file in Source(source, self._config.csv).open(files):
            for batch in file.batches(file.columns(columns, ()), lambda _: None):
                numbers = [
                    words.numbers(batch.column(column))
                    for column, words in zip(columns, self.words, strict=True)
                ]
                rows = [_added(counts, each) for counts, each in zip(rows, numbers, strict=True)]
                self._add(numbers)
        return rows

    def _add(self, numbers: Sequence[NDArray[np.int64]]) -> None:
        code = np.zeros(len(numbers[0]), dtype=np.uint64)
        for each in numbers:
            code = _mixed(code + each.astype(np.uint64) + np.uint64(1))
        codes, first = np.unique(code, return_index=True)
        new = first[self._seen.add(codes)]
        if len(new):
            self.series = [
                _added(counts, each[new]) for counts, each in zip(self.series, numbers, strict=True)
            ]


class _Seen:
    """A growing set of numbers, as sorted runs of which each is more than twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Take sorted, different numbers; which of them were not there."""
        new = np.ones(len(numbers), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, numbers), len(run) - 1)
            new &= run[places] != numbers
        if new.any():
            self._runs.append(numbers[new])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs[-2:] = [np.sort(np.concatenate(self._runs[-2:]), kind="stable")]
        return new


def _mixed(code: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers scattered over 64 bits: the last steps of SplitMix64 (Steele et al. 2014)."""
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


def _added(counts: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts, with one more for each of these numbers."""
    more = np.bincount(numbers, minlength=len(counts))
    more[: len(counts)] += counts
    return more


def _at(counts: NDArray[np.int64], number: int) -> int:
    return int(counts[number]) if number < len(counts) else 0
