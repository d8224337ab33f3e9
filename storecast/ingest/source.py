"""Raw files into Arrow tables of the needed columns, row for row, whatever state the files are in.

Columns of text files stay text here, so that what cannot be read as a number or date can be shown as it was.
"""

from __future__ import annotations

import csv
import difflib
import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat
from storecast.errors import DataError

HEAD_BYTES = 65_536
BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


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
        rows: (table.num_rows,) row number of each row in the file, 1-based, header and blank lines not counted.
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


@dataclass(frozen=True)
class Source:
    """A folder of raw files: a path or an fsspec URI."""

    root: str
    csv: CsvFormat = field(default_factory=CsvFormat)

    def read(
        self,
        files: Sequence[str],
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        dictionary: Sequence[str] = (),
    ) -> RawTable:
        """Read the first of `files` that exists.

        Args:
            files: candidate names in the folder.
            columns: columns that must be there.
            optional: columns that are taken where they are there.
            dictionary: columns with few different values, held dictionary-encoded.

        Raises:
            DataError: no candidate exists, the file is damaged, or a column is missing.
        """
        name, path, filesystem = self._find(files)
        if filesystem.size(path) == 0:
            raise _empty(name)
        if name.endswith((".parquet", ".pq")):
            with filesystem.open(path, "rb") as handle:
                return _read_parquet(name, handle, columns, optional)
        return _CsvFile(name, path, filesystem, self.csv).read(columns, optional, dictionary)

    def _find(self, files: Sequence[str]) -> tuple[str, str, Any]:
        filesystem, root = url_to_fs(self.root)
        for name in files:
            path = f"{root.rstrip('/')}/{name}"
            if filesystem.isfile(path):
                return name, path, filesystem
        try:
            here = sorted(entry.rsplit("/", 1)[-1] for entry in filesystem.ls(root, detail=False))
        except (OSError, NotADirectoryError):
            here = []
        raise DataError(
            "the file is missing" if len(files) == 1 else "none of the candidate files is there",
            where=self.root,
            expected=" or ".join(files),
            found=", ".join(here[:20]) or "no files",
            cure="put the file there, or correct its name in the dataset config",
        )


def _read_parquet(name: str, handle: IO[bytes], columns: Sequence[str], optional: Sequence[str]) -> RawTable:
    try:
        file = pq.ParquetFile(handle)
        wanted = _present(name, file.schema_arrow.names, columns, optional)
        table = file.read(columns=wanted)
    except (pa.ArrowException, *BROKEN) as error:
        raise DataError(
            "is damaged or not a Parquet file",
            where=name,
            expected="a complete Parquet file",
            found=str(error).splitlines()[0],
            cure="copy the file again from where it came from",
        ) from error
    if table.num_rows == 0:
        raise _header_only(name)
    return RawTable(name, table, np.arange(1, table.num_rows + 1, dtype=np.int64))


@dataclass(frozen=True)
class _CsvFile:
    name: str
    path: str
    filesystem: Any
    form: CsvFormat

    def read(self, columns: Sequence[str], optional: Sequence[str], dictionary: Sequence[str]) -> RawTable:
        wanted = self._columns(columns, optional)
        malformed: list[Malformed] = []

        def skip(row: pa_csv.InvalidRow) -> str:
            malformed.append(
                Malformed(row.number - 1, row.text[:500], row.expected_columns, row.actual_columns)
            )
            return "skip"

        few = pa.dictionary(pa.int32(), pa.string())
        try:
            with self._open() as handle:
                table = pa_csv.read_csv(
                    handle,
                    read_options=pa_csv.ReadOptions(
                        use_threads=False,
                        encoding=self.form.encoding,
                        block_size=max(1 << 20, 2 * self.form.max_line_bytes),
                    ),
                    parse_options=pa_csv.ParseOptions(
                        delimiter=self.form.separator, invalid_row_handler=skip
                    ),
                    convert_options=pa_csv.ConvertOptions(
                        include_columns=wanted,
                        column_types={c: few if c in dictionary else pa.string() for c in wanted},
                        null_values=[""],
                        strings_can_be_null=True,
                    ),
                )
        except UnicodeError as error:
            raise self._wrong_encoding(str(error)) from error
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error):
                raise self._wrong_encoding(str(error)) from error
            raise self._damaged(error) from error
        except BROKEN as error:
            raise self._damaged(error) from error
        total = table.num_rows + len(malformed)
        if total == 0:
            raise _header_only(self.name)
        rows = np.delete(np.arange(1, total + 1, dtype=np.int64), [bad.row - 1 for bad in malformed])
        return RawTable(self.name, table, rows, tuple(malformed))

    @contextmanager
    def _open(self) -> Iterator[_CappedLines]:
        compression = fsspec.utils.infer_compression(self.path)
        with self.filesystem.open(self.path, "rb") as raw:
            opened = fsspec.core.compr[compression](raw, mode="r") if compression else raw
            with _CappedLines(opened, self.name, self.form.max_line_bytes) as capped:
                yield capped

    def _columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        """The wanted columns that the header has."""
        try:
            with self._open() as handle:
                head = handle.read_up_to(max(HEAD_BYTES, self.form.max_line_bytes))
        except BROKEN as error:
            raise self._damaged(error) from error
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._wrong_encoding("a UTF-16 byte order mark", "utf-16")
        line = next((part for part in head.splitlines() if part.strip(b"\xef\xbb\xbf \t")), b"")
        if not line:
            raise _empty(self.name)
        try:
            text = line.decode(
                "utf-8-sig" if self.form.encoding.lower() in ("utf-8", "utf8") else self.form.encoding
            )
        except UnicodeError as error:
            raise self._wrong_encoding(str(error)) from error
        header = next(csv.reader([text], delimiter=self.form.separator))
        if set(columns) - set(header):
            self._refuse_other_separator(text, columns)
        return _present(self.name, header, columns, optional)

    def _refuse_other_separator(self, text: str, columns: Sequence[str]) -> None:
        for separator, word in SEPARATORS.items():
            if set(columns) <= set(next(csv.reader([text], delimiter=separator))):
                raise DataError(
                    f"the values are separated by {word}",
                    where=f"{self.name}, header",
                    expected=f"the separator {self.form.separator!r}",
                    found=text[:200],
                    cure=f"set `csv: {{separator: {separator!r}}}` in the dataset config",
                )

    def _damaged(self, error: Exception) -> DataError:
        compressed = fsspec.utils.infer_compression(self.path)
        return DataError(
            f"is damaged or not a {compressed} file" if compressed else "cannot be read as CSV",
            where=self.name,
            expected=f"a complete {compressed} file" if compressed else "a text file with one row per line",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            cure="copy the file again from where it came from",
        )

    def _wrong_encoding(self, found: str, likely: str = "latin-1") -> DataError:
        return DataError(
            f"is not {self.form.encoding} text",
            where=f"{self.name}, row {self._first_undecodable()}",
            expected=f"text in {self.form.encoding}",
            found=found,
            cure=f"set `csv: {{encoding: {likely}}}` in the dataset config, or save the file as UTF-8",
        )

    def _first_undecodable(self) -> int:
        with self._open() as handle:
            for number, line in enumerate(io.BufferedReader(handle)):
                try:
                    line.decode(self.form.encoding)
                except UnicodeError:
                    return number
        return 0


class _CappedLines(io.RawIOBase):
    """A byte stream that refuses a line longer than `cap`, before it is held in memory."""

    def __init__(self, inner: IO[bytes], name: str, cap: int) -> None:
        super().__init__()
        self._inner, self._name, self._cap = inner, name, cap
        self._line, self._lines = 0, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._inner.read(self._cap if size is None or size < 0 else min(size, self._cap))
        first = block.find(b"\n")
        self._line += len(block) if first < 0 else first
        if self._line > self._cap:
            raise DataError(
                f"a line is longer than {self._cap:,} bytes",
                where=f"{self._name}, row {self._lines}",
                expected="one row per line; a file of rows, not one long line",
                found=f"more than {self._line:,} bytes without a line end",
                cure="write the file with line ends, or raise `csv: {max_line_bytes: ...}` in the dataset config",
            )
        if first >= 0:
            self._line = len(block) - block.rfind(b"\n") - 1
            self._lines += block.count(b"\n")
        return block

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def read_up_to(self, size: int) -> bytes:
        """At most `size` bytes, up to and including the first line that is not blank."""
        head = b""
        while len(head) < size and (block := self.read(min(8192, size))):
            head += block
            if head.strip() and b"\n" in head.lstrip():
                break
        return head


def _present(name: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
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


def _empty(name: str) -> DataError:
    return DataError(
        "the file is empty",
        where=name,
        expected="a header and at least one row",
        found="0 bytes of content",
        cure="export the file again",
    )


def _header_only(name: str) -> DataError:
    return DataError(
        "the file has a header and no rows",
        where=name,
        expected="at least one row",
        found="0 rows",
        cure="export the file again",
    )
