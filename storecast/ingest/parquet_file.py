"""Parquet files, read without trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from storecast.errors import DataError
from storecast.ingest.raw_table import BROKEN, Malformed, present
from storecast.store import parquet

BATCH_ROWS = 1 << 19


@dataclass(frozen=True)
class ParquetFile:
    """One Parquet file: its name for messages, and where it lies."""

    name: str
    path: str
    filesystem: Any

    def about_rows(self) -> int:
        """How many rows the file has; see `RawFile`."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        """The wanted columns that the file has; see `RawFile`."""
        with self._open() as file:
            there = present(self.name, file.schema_arrow.names, columns, optional)
            nested = [name for name in there if pa.types.is_nested(file.schema_arrow.field(name).type)]
        if nested:
            raise DataError(
                f"column {nested[0]!r} holds lists or structures",
                where=self.name,
                expected="one value a row",
                cure="write the column with one value a row, or leave it out of the dataset config",
            )
        return there

    def batches(
        self, columns: Sequence[str], malformed: Callable[[Malformed], None]
    ) -> Iterator[pa.RecordBatch]:
        """These columns, some rows at a time; see `RawFile`."""
        del malformed
        with self._open() as file:
            for group in range(
                file.num_row_groups
            ):  # a reader of all of them keeps the bytes of each it has read
                yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns))

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with self.filesystem.open(self.path, "rb") as handle, parquet.open_file(handle) as file:
                yield file
        except (pa.ArrowException, *BROKEN) as error:
            raise DataError(
                "is damaged or not a Parquet file",
                where=self.name,
                expected="a complete Parquet file",
                found=str(error).splitlines()[0],
                cure="copy the file again from where it came from",
            ) from error
