"""Rows that come in any order, sorted into a file for each partition in memory that does not grow with them.

A Parquet file keeps what it must say of each of its row groups until it is closed, and rows that lie by date
bring few rows of every partition at a time. So rows go to a temporary file of their partition first, and from
there, one partition after the other, into row groups of a good size. The temporary files have no names: where
a process is killed, nothing of them stays.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import pyarrow as pa

from storecast.store import parquet

ROWS_AT_ONCE = 1 << 20
"""Rows that wait in memory."""
GROUP_ROWS = 1 << 19
"""Rows of a row group."""
LENGTH_BYTES = 8
OTHER_FILES = 128
"""Open files beside the temporary ones."""


class Spill:
    """Takes the rows of partitions and writes a Parquet file for each; use it as a context manager.

    Args:
        paths: the file of each partition; one without rows is not written.

    Attributes:
        rows: how many rows each partition has.
    """

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._paths = paths
        self._files: dict[int, IO[bytes]] = {}
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        self._count = 0
        self._open = ExitStack()
        self.rows: dict[int, int] = {}

    def add(self, number: int, batch: pa.RecordBatch) -> None:
        """Rows of a partition."""
        self._waiting.setdefault(number, []).append(batch)
        self.rows[number] = self.rows.get(number, 0) + batch.num_rows
        self._count += batch.num_rows
        if self._count >= ROWS_AT_ONCE:
            self._flush()

    def write(self) -> None:
        """Write the files: what was added, in its order."""
        self._flush()
        for number, file in self._files.items():
            file.seek(0)
            parquet.write_groups(_groups(file), self._paths[number])
            file.close()

    def _flush(self) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for number, batches in self._waiting.items():
            table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                stream.write_table(table)
            buffer = sink.getvalue()
            file = self._file(number)
            file.write(buffer.size.to_bytes(LENGTH_BYTES, "little"))
            file.write(buffer)
        self._waiting.clear()
        self._count = 0

    def _file(self, number: int) -> IO[bytes]:
        if number not in self._files:
            if not self._files:
                _allow_files(len(self._paths) + OTHER_FILES)
            made = tempfile.TemporaryFile(dir=self._paths[number].parent)  # noqa: SIM115
            self._files[number] = self._open.enter_context(made)
        return self._files[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def _groups(file: IO[bytes]) -> Iterator[pa.Table]:
    """The rows of a temporary file, in tables of some size."""
    waiting: list[pa.Table] = []
    while length := file.read(LENGTH_BYTES):
        with pa.ipc.open_stream(file.read(int.from_bytes(length, "little"))) as stream:
            waiting.append(stream.read_all())
        if sum(map(len, waiting)) >= GROUP_ROWS:
            yield pa.concat_tables(waiting).unify_dictionaries()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).unify_dictionaries()


def _allow_files(count: int) -> None:
    """Let this process have so many open files, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
