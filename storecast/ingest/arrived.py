"""Checking one file that has arrived, by itself: which raw table it belongs to, and what is wrong with it."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from storecast.dataset_config import DatasetConfig, is_pattern
from storecast.errors import DataError
from storecast.ingest.checks import Field
from storecast.ingest.context import Context
from storecast.ingest.ledger import Arrival, one_frame
from storecast.ingest.rows import future_fields, train_fields
from storecast.ingest.source import Source
from storecast.ingest.tables import holiday_fields, table_fields

READABLE = (".csv", ".csv.gz", ".parquet", ".pq", ".json")
"""What an arriving file's name may end with; .json holds a list of rows."""


def raw_tables(config: DatasetConfig) -> dict[str, list[str]]:
    """The raw tables of a data set: candidate file names by the first of them, the history first."""
    groups = [config.train, config.future, *(table.files for table in config.tables)]
    groups.append(config.holidays.files if config.holidays else [])
    return {files[0]: list(files) for files in groups if files}


def table_of(config: DatasetConfig, name: str) -> str:
    """The raw table that a file belongs to by its name: `test-2017-09.csv` to `test.csv`.

    The name begins like one of the table's files, followed by its end or by something that is no letter or
    digit; a name that begins like none is a file of sales.
    """
    stem, best = _stem(name), ("", config.train[0])
    for table, files in raw_tables(config).items():
        for candidate in map(_stem, files):
            pattern = fnmatch.translate(candidate) if is_pattern(candidate) else re.escape(candidate)
            same = re.match(pattern.removesuffix(r"\Z") + r"([^A-Za-z0-9]|$)", stem)
            if same and len(candidate) > len(best[0]):
                best = (candidate, table)
    return best[1]


def table_with(config: DatasetConfig, file: str) -> str:
    """The raw table that has a file's name among its candidates, first of all the one that begins with it;
    "" where none has."""
    tables = raw_tables(config)
    if file in tables:
        return file
    has = (table for table, files in tables.items() if any(_stands_for(name, file) for name in files))
    return next(has, "")


def connected(config: DatasetConfig, arrivals: Sequence[Arrival]) -> tuple[list[Arrival], list[str]]:
    """The arrivals, each with the raw table it belongs to as the config is now, and notes on those that
    belong to none: a table keeps what has arrived of it while the name it had stays among its candidates."""
    tables = {name: table_with(config, name) for name in dict.fromkeys(a.table for a in arrivals)}
    ours = [replace(arrival, table=tables[arrival.table]) for arrival in arrivals if tables[arrival.table]]
    lost = Counter(arrival.table for arrival in arrivals if not tables[arrival.table])
    return ours, [
        f"what has arrived for {name} is left out ({count} {'file' if count == 1 else 'files'}): no table of "
        "the data set names it; put it among the files of the table it belongs to"
        for name, count in lost.items()
    ]


def check_arrival(config: DatasetConfig, arrival: Arrival, today: dt.date | None = None) -> Context:
    """Validate a file by itself, by the rules of its table.

    Keys that only other tables know (a store that is not in the list of stores) are checked when the file
    is ingested together with these.

    Args:
        config: the data set.
        arrival: the file; `table` is one of `raw_tables`.
        today: sales after it are wrong; default: the day of the call (UTC).

    Returns:
        A context whose `report` and `quarantine` say what became of each row.

    Raises:
        DataError: it is of no known format, damaged, lacks a column or has too many wrong rows.
    """
    if not arrival.name.endswith(READABLE):
        raise DataError(
            "a file of this kind cannot be read",
            where=arrival.name,
            expected=f"a name that ends with {', '.join(READABLE)}",
            cure="export it as CSV or Parquet; a CSV is written as the data set's YAML says",
        )
    now = today if today is not None else dt.datetime.now(dt.UTC).date()
    context = Context(config, Source("", config.csv), pd.Timestamp(now))
    fields, (_, optional) = fields_of(context, arrival.table), columns_of(config, arrival.table)
    frame, audit = context.arrived(arrival, fields, arrival.table, optional)
    whole, ledger = one_frame([frame], [audit])
    context.close(ledger, whole.index)
    return context


def fields_of(context: Context, table: str) -> list[Field]:
    """The columns of a raw table, named by the first of its candidate files."""
    config = context.config
    if table == config.train[0]:
        return train_fields(context, {}, None)
    if table in config.future[:1]:
        return future_fields(context, {})
    if config.holidays and table == config.holidays.files[0]:
        return holiday_fields(config.holidays)
    return next(table_fields(config, t) for t in config.tables if t.files[0] == table)


def columns_of(config: DatasetConfig, table: str) -> tuple[list[str], list[str]]:
    """The columns of a raw table that are needed, and those of them that may be absent: of the future's file
    the known covariates."""
    context = Context(config, Source("", config.csv), pd.Timestamp.max)
    needed = [field.column for field in fields_of(context, table)]
    for further in config.tables:
        if further.files[0] == table:
            needed += [*further.join.values(), *further.columns.values()]
    optional = list(config.known.values()) if table in config.future[:1] else []
    return [name for name in dict.fromkeys(needed) if name not in optional], optional


def require_files(config: DatasetConfig, source: str) -> None:
    """See that every raw table is there and has its columns, without reading a row.

    Raises:
        DataError: a file is missing, damaged or lacks a column; names it and what is there.
    """
    for table, files in raw_tables(config).items():
        for file in Source(source, config.csv).open(files):
            file.columns(*columns_of(config, table))


def _stands_for(candidate: str, file: str) -> bool:
    return candidate == file or (is_pattern(candidate) and fnmatch.fnmatchcase(file, candidate))


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".", 1)[0]
