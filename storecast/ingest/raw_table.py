"""One raw file: its needed columns typed as they are read, its cells as they are written when asked for."""

from __future__ import annotations

import difflib
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat
from storecast.errors import DataError
from storecast.ingest.parse import Kind
from storecast.ingest.typed import Typed, builder

SHOWN = 20
"""Columns that an error names."""
WIDE = "Where each date has a column of its own, make rows of them first: docs/adding-a-dataset.md shows how"
BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What readers raise on damaged bytes, besides Arrow's own errors."""


@dataclass(frozen=True)
class Malformed:
    """A line that has more or fewer values than the header."""

    row: int
    text: str
    expected: int
    actual: int


class RawFile(Protocol):
    """A file of rows, of any format."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    def about_rows(self) -> int:
        """How many rows the file has, told from little of it: of CSV by the length of its first lines.

        Raises:
            DataError: the file is damaged.
        """
        ...

    def columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        """The wanted columns that the file has.

        Raises:
            DataError: the file is damaged, or one of `columns` is missing.
        """
        ...

    def batches(
        self, columns: Sequence[str], malformed: Callable[[Malformed], None]
    ) -> Iterator[pa.RecordBatch]:
        """These columns as they are written, some rows at a time; lines that are no rows go to `malformed`.

        Raises:
            DataError: the file is damaged.
        """
        ...


@dataclass
class RawTable:
    """The needed columns of one file, typed. The cells as they are written are not held, but read again.

    Attributes:
        file: name of the file, for messages.
        source: where the cells are read again.
        names: the columns.
        n_rows: rows that could be split into columns. Their positions are 0, 1, ..., n_rows - 1.
        malformed: lines that could not, by row.
        typed: the columns by name and kind; none once they were taken.
    """

    file: str
    source: RawFile
    names: tuple[str, ...]
    n_rows: int
    malformed: tuple[Malformed, ...] = ()
    typed: dict[tuple[str, Kind], Typed] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        source: RawFile,
        wanted: Iterable[tuple[str, Kind]],
        optional: Sequence[str],
        form: CsvFormat,
        *,
        bare: bool = False,
    ) -> RawTable:
        """Read the wanted columns, those of `optional` where they are there.

        Raises:
            DataError: the file is damaged, lacks a column or, unless it may be `bare`, has no rows.
        """
        kinds = list(dict.fromkeys(wanted))
        names = source.columns([name for name, _ in kinds if name not in optional], optional)
        builders = {(name, kind): builder(kind, form) for name, kind in kinds if name in names}
        malformed: list[Malformed] = []
        n_rows = 0
        for batch in source.batches(names, malformed.append):
            n_rows += batch.num_rows
            for (name, _), each in builders.items():
                each.add(batch.column(name))
        if n_rows + len(malformed) == 0 and not bare:
            raise header_only(source.name)
        typed = {key: builders.pop(key).finish() for key in list(builders)}
        return cls(source.name, source, tuple(names), n_rows, tuple(malformed), typed)

    @property
    def n_read(self) -> int:
        """Rows in the file."""
        return self.n_rows + len(self.malformed)

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row numbers of positions: 1-based, without header and blank lines."""
        lost = np.array([bad.row for bad in self.malformed], dtype=np.int64)
        before = np.searchsorted(lost - np.arange(len(lost)), positions + 1, side="right")
        return np.asarray(positions + 1 + before)

    def cells(self, positions: NDArray[np.int64]) -> dict[int, dict[str, Any]]:
        """The cells of these positions as they are written, by position.

        Raises:
            DataError: the file is damaged, or no longer has these rows.
        """
        wanted, found, start = np.unique(positions), dict[int, dict[str, Any]](), 0
        for batch in self.source.batches(self.names, lambda _: None) if len(wanted) else ():
            here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
            found.update(zip(here.tolist(), _plain_rows(batch.take(pa.array(here - start))), strict=True))
            start += batch.num_rows
            if start > wanted[-1]:
                break
        if len(found) < len(wanted):
            raise DataError(
                "the file has changed while it was read",
                where=self.file,
                expected=f"{self.n_rows:,} rows, as at first",
                found=f"{start:,} rows",
                cure="read it again when nobody writes it any more",
            )
        return found


def _plain_rows(rows: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows in Python's values; dates as text where one is of a year that Python's cannot be of."""
    try:
        found: list[dict[str, Any]] = rows.to_pylist()
    except OverflowError:
        columns = [
            column.cast(pa.string())
            if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)
            else column
            for column in rows.columns
        ]
        found = pa.RecordBatch.from_arrays(columns, rows.schema.names).to_pylist()
    return found


def present(name: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The wanted columns that a header has; fails where one of `columns` is missing or a name is repeated."""
    twice = sorted({column for column in header if list(header).count(column) > 1})
    if twice:
        raise DataError(
            f"column {twice[0]!r} occurs twice",
            where=f"{name}, header",
            expected="each column once",
            found=_some(header),
            cure="rename or remove one of the two columns",
        )
    for column in columns:
        if column not in header:
            near = difflib.get_close_matches(column, header, n=1, cutoff=0.6)
            raise DataError(
                f"column {column!r} is missing",
                where=f"{name}, header",
                expected=f"the columns {', '.join(columns)}",
                found=_some(header),
                cure=(f"did you mean {near[0]!r}? " if near else "")
                + (
                    WIDE
                    if _is_wide(header)
                    else "Correct the column's name in the dataset config, or add the column"
                ),
            )
    return [column for column in dict.fromkeys([*columns, *optional]) if column in header]


def _some(header: Sequence[str]) -> str:
    more = len(header) - SHOWN
    return ", ".join(header[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _is_wide(header: Sequence[str]) -> bool:
    """Whether each date seems to have a column of its own: most names end with a number."""
    return sum(name[-1:].isdigit() for name in header) > max(SHOWN, len(header) / 2)


def empty_file(name: str) -> DataError:
    """The error for a file without content."""
    return DataError(
        "the file is empty",
        where=name,
        expected="a header and at least one row",
        found="0 bytes of content",
        cure="export the file again",
    )


def header_only(name: str) -> DataError:
    """The error for a file without rows."""
    return DataError(
        "the file has a header and no rows",
        where=name,
        expected="at least one row",
        found="0 rows",
        cure="export the file again",
    )
