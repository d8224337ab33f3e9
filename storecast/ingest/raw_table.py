"""A file's needed columns as they are written, and the faults that any format may have."""

from __future__ import annotations

import difflib
import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storecast.errors import DataError

BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What readers raise on damaged bytes, besides Arrow's own errors."""


@dataclass(frozen=True)
class Malformed:
    """A line that has more or fewer values than the header."""

    row: int
    text: str
    expected: int
    actual: int


@dataclass(frozen=True)
class RawTable:
    """The needed columns of one file as they are written.

    Attributes:
        file: name of the file, for messages.
        table: the columns; text where the file is text.
        rows: (table.num_rows,) row number of each row in the file, 1-based, without header and blank lines.
        malformed: lines that could not be split into columns.
    """

    file: str
    table: pa.Table
    rows: NDArray[np.int64]
    malformed: tuple[Malformed, ...] = ()

    @property
    def n_read(self) -> int:
        """Rows in the file."""
        return int(self.table.num_rows) + len(self.malformed)


def present(name: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The wanted columns that a header has; fails where one of `columns` is missing or a name is repeated."""
    twice = sorted({column for column in header if list(header).count(column) > 1})
    if twice:
        raise DataError(
            f"column {twice[0]!r} occurs twice",
            where=f"{name}, header",
            expected="each column once",
            found=", ".join(header),
            cure="rename or remove one of the two columns",
        )
    for column in columns:
        if column not in header:
            near = difflib.get_close_matches(column, header, n=1, cutoff=0.6)
            raise DataError(
                f"column {column!r} is missing",
                where=f"{name}, header",
                expected=f"the columns {', '.join(columns)}",
                found=", ".join(header),
                cure=(f"did you mean {near[0]!r}? " if near else "")
                + "Correct the column's name in the dataset config, or add the column",
            )
    return [column for column in dict.fromkeys([*columns, *optional]) if column in header]


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
