"""Raw files, cut: each partition's rows as they are written, and its data set config."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat, DatasetConfig
from storecast.errors import DataError
from storecast.ingest.arrived import columns_of, raw_tables
from storecast.ingest.ledger import Arrival
from storecast.ingest.raw_table import Malformed, RawFile, header_only
from storecast.ingest.source import Source
from storecast.partition.groups import Group, Grouping
from storecast.partition.spill import Spill
from storecast.partition.words import Words
from storecast.store import parquet
from storecast.store.releases import part_name

CONFIG = "dataset.yaml"

Route = Callable[[pa.RecordBatch], NDArray[np.int64]]


@dataclass(frozen=True)
class Cut:
    """What came of the rows.

    Attributes:
        rows: of the history, by partition.
        malformed: lines of each file that are no rows, by its name; no partition has them.
    """

    rows: Mapping[int, int]
    malformed: Mapping[str, Sequence[Malformed]]

    def table(self) -> pa.Table:
        """The lines that are no rows, as `file, row, text, expected, found`: both numbers of values."""
        lines = [(name, line) for name, lost in self.malformed.items() for line in lost]
        return pa.table(
            {
                "file": pa.array([name for name, _ in lines], pa.string()),
                "row": pa.array([line.row for _, line in lines], pa.int64()),
                "text": pa.array([line.text for _, line in lines], pa.string()),
                "expected": pa.array([line.expected for _, line in lines], pa.int64()),
                "found": pa.array([line.actual for _, line in lines], pa.int64()),
            }
        )


def cut(
    config: DatasetConfig,
    source: str,
    grouping: Grouping,
    groups: Mapping[str, Group],
    places: Mapping[str, int],
    folder: Path,
) -> Cut:
    """Write a folder for each partition: its raw files as Parquet, and the data set config that reads them.

    A table whose rows are of no group, such as holidays, lies in every folder. Rows without a group, which
    an ingest will find wrong, go to the first partition. Memory holds a million rows, whatever the panel.

    Args:
        config: what the files mean.
        source: folder of the raw files: a path or an fsspec URI.
        grouping: what tells the groups.
        groups: what there is of each.
        places: the partition of each.
        folder: where the folders go.

    Raises:
        DataError: a file is missing or damaged, or too many of its lines are no rows.
    """
    live = sorted({places[name] for name, group in groups.items() if group.rows})
    malformed: dict[str, list[Malformed]] = {}
    history: dict[int, int] = {}
    for number in live:
        (folder / part_name(config.name, number)).mkdir()
    for table, name in names_of(config).items():
        read_from = Source(source, config.csv).open(raw_tables(config)[table])
        paths = {n: folder / part_name(config.name, n) / name for n in live}
        split = _split(config, grouping, table)
        route = _route(*split, places, live, config.csv) if split else None
        lost: dict[str, list[Malformed]] = {}
        future = table in config.future[:1]
        rows = _write(read_from, *columns_of(config, table), route, paths, lost)
        if not rows and not lost and not future:
            raise header_only(read_from[0].name)
        read = sum(rows.values()) if route else max(rows.values(), default=0)
        _refuse_too_many(lost, read, config.rules.max_quarantined_share)
        malformed |= lost
        history = history or rows
        bare = {n: path for n, path in paths.items() if not rows.get(n)}
        for path in bare.values() if future else ():
            _write_header(path, read_from[0].columns(*columns_of(config, table)))
        if bare and not future:  # rows of other groups are better than a file of none
            _write(read_from, *columns_of(config, table), None, bare, {})
    for number in live:
        own = _own(config, number, names_of(config))
        text = yaml.safe_dump(own, sort_keys=False, allow_unicode=True)
        (folder / part_name(config.name, number) / CONFIG).write_text(text, encoding="utf-8")
    return Cut(history, malformed)


def cut_arrival(
    config: DatasetConfig,
    grouping: Grouping,
    places: Mapping[str, int],
    live: Sequence[int],
    arrival: Arrival,
    folder: Path,
) -> dict[int, Path]:
    """Write a file that has arrived as one for each partition that has rows of it, as `cut` does.

    Files say inside which arrival they are of: the same rows in two of them are two files.

    Args:
        config: what the files mean.
        grouping: what tells the groups.
        places: the partition of each group.
        live: the partitions that there are, sorted.
        arrival: the file; lines of it that are no rows are left out.
        folder: where the files go.

    Raises:
        DataError: the file is damaged.
    """
    stem = Path(names_of(config)[arrival.table]).stem
    paths = {n: folder / f"{stem}-{arrival.hash[:8]}-{n}.parquet" for n in live}
    split = _split(config, grouping, arrival.table)
    route = _route(*split, places, live, config.csv) if split else None
    stamp = {"storecast.arrival": arrival.hash}
    rows = _write(
        [Source.of_file(arrival.uri, config.csv)], *columns_of(config, arrival.table), route, paths, {}, stamp
    )
    return {number: paths[number] for number in sorted(rows)}


def key_values(config: DatasetConfig, grouping: Grouping, arrival: Arrival) -> list[str]:
    """The different values, in a file that has arrived, of the key that tells the groups; of a file that has
    no such key none."""
    if arrival.table not in _sales_tables(config):
        return []
    words, file = Words(config.csv), Source.of_file(arrival.uri, config.csv)
    column = config.keys[grouping.key]
    for batch in file.batches(file.columns([column], ()), lambda _: None):
        words.numbers(batch.column(column))
    return [text for text in words.texts if text]


def _sales_tables(config: DatasetConfig) -> list[str]:
    """The raw tables whose rows have all keys: the history and the future."""
    return [config.train[0], *config.future[:1]]


def names_of(config: DatasetConfig) -> dict[str, str]:
    """The file of each raw table in a partition's folder, the history first."""
    names: dict[str, str] = {}
    for table in raw_tables(config):
        stem = re.sub(r"[*?]+", "", table.rsplit("/", 1)[-1].split(".", 1)[0]).strip("-_ ") or "table"
        taken = {name.removesuffix(".parquet") for name in names.values()}
        names[table] = f"{stem if stem not in taken else f'{stem}-{len(names)}'}.parquet"
    return names


def _split(config: DatasetConfig, grouping: Grouping, table: str) -> tuple[str, Grouping] | None:
    """The column of a raw table that tells its rows' groups; None where all partitions need all rows."""
    if table in _sales_tables(config):
        return config.keys[grouping.key], grouping
    found = [grouping.column(further.join) for further in config.tables if further.files[0] == table]
    return found[0] if found and all(each == found[0] for each in found) else None


def _route(
    column: str, grouping: Grouping, places: Mapping[str, int], live: Sequence[int], form: CsvFormat
) -> Route:
    """What tells the partition of each row of a batch."""
    words, numbers = Words(form), list[int]()

    def route(batch: pa.RecordBatch) -> NDArray[np.int64]:
        found = words.numbers(batch.column(column))
        for text in words.texts[len(numbers) :]:
            place = places.get(grouping.group(text), live[0])
            numbers.append(place if place in live else live[0])
        return np.array(numbers, dtype=np.int64)[found]

    return route


def _write(
    files: Sequence[RawFile],
    needed: Sequence[str],
    optional: Sequence[str],
    route: Route | None,
    paths: Mapping[int, Path],
    malformed: dict[str, list[Malformed]],
    stamp: Mapping[str, str] | None = None,
) -> dict[int, int]:
    """Write a table's rows to the partitions that they go to, or all to each; how many rows each has.

    Lines that are no rows are entered into `malformed`, by the file's name.
    """
    with Spill(paths) as spill:
        for read in _batches(files, needed, optional, malformed):
            batch = read.replace_schema_metadata(stamp) if stamp else read
            for number in paths if route is None else ():
                spill.add(number, batch)
            for number, part in _parts(batch, route(batch)) if route is not None else ():
                spill.add(number, part)
        spill.write()
    return spill.rows


def _write_header(path: Path, names: Sequence[str]) -> None:
    """Write a table of these columns and no rows."""
    parquet.write_table(pa.table({name: pa.array([], pa.string()) for name in names}), path)


def _batches(
    files: Sequence[RawFile],
    needed: Sequence[str],
    optional: Sequence[str],
    malformed: dict[str, list[Malformed]],
) -> Iterator[pa.RecordBatch]:
    """The rows of a table's files, one after the other, in columns as the first file has them.

    Raises:
        DataError: a file is damaged, or has other columns than the first one.
    """
    names, schema = files[0].columns(needed, optional), None
    for file in files:
        here = file.columns(needed, optional)
        if here != names:
            raise DataError(
                "the files of one table have different columns",
                where=f"{file.name}, header",
                expected=f"{', '.join(names)}, as in {files[0].name}",
                found=", ".join(here),
                cure="give all of them the same columns",
            )
        lost: list[Malformed] = []
        for batch in file.batches(names, lost.append):
            schema = schema or batch.schema
            yield _as(schema, batch, file.name)
        if lost:
            malformed[file.name] = lost


def _as(schema: pa.Schema, batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    """The batch in these types, told from another file of its table."""
    if batch.schema.types == schema.types:
        return batch
    try:
        return batch.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            "a column holds another kind of values than in another file of its table",
            where=name,
            expected=", ".join(f"{field.name}: {field.type}" for field in schema),
            found=str(error).splitlines()[0],
            cure="write all files of the table with the same types",
        ) from error


def _refuse_too_many(malformed: Mapping[str, Sequence[Malformed]], rows: int, most: float) -> None:
    count = sum(map(len, malformed.values()))
    share = count / max(rows + count, 1)
    if share > most:
        name, (first, *_) = next(iter(malformed.items()))
        raise DataError(
            f"{count:,} of {rows + count:,} lines are no rows ({share:.1%})",
            where=f"{name}, row {first.row}",
            expected=f"{first.expected} values in each line, in all but {most:.1%}",
            found=f"{first.actual} values: {first.text[:100]}",
            cure="mend the file, or raise `rules: {max_quarantined_share: ...}` in the dataset config",
        )


def _parts(batch: pa.RecordBatch, numbers: NDArray[np.int64]) -> list[tuple[int, pa.RecordBatch]]:
    """The rows of each partition, in their order."""
    if not len(numbers):
        return []
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    if len(found) > 1:
        batch = batch.take(pa.array(order))
    stops = [*starts[1:].tolist(), len(numbers)]
    return [
        (int(number), batch.slice(start, stop - start))
        for number, start, stop in zip(found, starts.tolist(), stops, strict=True)
    ]


def _own(config: DatasetConfig, number: int, files: Mapping[str, str]) -> dict[str, object]:
    """The config of a partition: the data set's, with its own name and files."""
    own = config.model_dump(mode="json", exclude_defaults=True)
    own |= {"name": part_name(config.name, number), "train": files[config.train[0]]}
    own["future"] = [files[table] for table in config.future[:1]]
    for table, said in zip(config.tables, own.get("tables", []), strict=True):
        said["files"] = files[table.files[0]]
    if config.holidays:
        own["holidays"]["files"] = files[config.holidays.files[0]]
    return own
