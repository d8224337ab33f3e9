"""CSV files, compressed or not, read without trust: broken lines, endless lines, wrong encodings."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from storecast.dataset_config import CsvFormat
from storecast.errors import DataError
from storecast.ingest.raw_table import BROKEN, Malformed, empty_file, present

HEAD_BYTES = 65_536
SAMPLE_BYTES = 1 << 20
UTF_8 = ("utf-8", "utf8", "UTF-8", "UTF8")
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


@dataclass(frozen=True)
class CsvFile:
    """One CSV file: its name for messages, where it lies, and how it is written."""

    name: str
    path: str
    filesystem: Any
    form: CsvFormat

    def batches(
        self, columns: Sequence[str], malformed: Callable[[Malformed], None]
    ) -> Iterator[pa.RecordBatch]:
        """These columns, all as text, some rows at a time; see `RawFile`."""

        def skip(row: pa_csv.InvalidRow) -> str:
            malformed(Malformed(row.number - 1, row.text[:500], row.expected_columns, row.actual_columns))
            return "skip"

        try:
            with self._open() as handle:
                yield from pa_csv.open_csv(
                    handle,
                    read_options=pa_csv.ReadOptions(
                        use_threads=False,
                        encoding=handle.encoding,
                        block_size=max(1 << 20, 2 * self.form.max_line_bytes),
                    ),
                    parse_options=pa_csv.ParseOptions(
                        delimiter=self.form.separator, invalid_row_handler=skip
                    ),
                    convert_options=pa_csv.ConvertOptions(
                        include_columns=list(columns),
                        column_types=dict.fromkeys(columns, pa.string()),
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

    def about_rows(self) -> int:
        """How many rows the file has; see `RawFile`."""
        size = int(self.filesystem.size(self.path))
        try:
            with self.filesystem.open(self.path, "rb") as raw:
                opened, _ = self._opened(raw)
                lines: int = opened.read(SAMPLE_BYTES).count(b"\n")
                read = min(size, int(raw.tell()))
                return max(0, lines * size // max(1, read) - 1)
        except BROKEN as error:
            raise self._damaged(error) from error

    def columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        """The wanted columns that the header has; see `RawFile`."""
        try:
            with self._open() as handle:
                head = handle.read_up_to(max(HEAD_BYTES, self.form.max_line_bytes))
        except UnicodeError as error:
            raise self._wrong_encoding(str(error)) from error
        except BROKEN as error:
            raise self._damaged(error) from error
        line = next((part for part in head.splitlines() if part.strip(b"\xef\xbb\xbf \t")), b"")
        if not line:
            raise empty_file(self.name)
        try:
            text = line.decode("utf-8-sig" if handle.encoding in UTF_8 else handle.encoding)
        except UnicodeError as error:
            raise self._wrong_encoding(str(error)) from error
        try:
            header = next(csv.reader([text], delimiter=self.form.separator))
        except csv.Error as error:
            raise self._damaged(error) from error
        if set(columns) - set(header):
            self._refuse_other_separator(text, columns)
        return present(self.name, header, columns, optional)

    @contextmanager
    def _open(self) -> Iterator[_CappedLines]:
        with (
            self.filesystem.open(self.path, "rb") as raw,
            _CappedLines(*self._opened(raw), self.name, self.form.max_line_bytes) as capped,
        ):
            yield capped

    def _opened(self, raw: Any) -> tuple[Any, str]:
        """What the file's bytes say, once unpacked, and their encoding; UTF-16, where a line's end is no byte
        of its own, as UTF-8."""
        compression = fsspec.utils.infer_compression(self.path)
        opened = io.BufferedReader(fsspec.core.compr[compression](raw, mode="r") if compression else raw)
        marked = opened.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        wide = "utf-16" if marked else codecs.lookup(self.form.encoding).name
        if not wide.startswith("utf-16"):
            return opened, self.form.encoding
        return pa.transcoding_input_stream(pa.PythonFile(opened, mode="r"), wide, "utf-8"), "utf-8"

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

    def _wrong_encoding(self, found: str) -> DataError:
        said = f"`csv: {{encoding: {self.form.encoding}}}`"
        return DataError(
            f"is not {self.form.encoding} text",
            where=f"{self.name}, row {self._first_undecodable()}",
            expected=f"text in {self.form.encoding}",
            found=found,
            cure="set `csv: {encoding: latin-1}` in the dataset config, or save the file as UTF-8"
            if self.form.encoding in UTF_8
            else f"leave out {said} in the dataset config, and save the file as UTF-8 if it is not",
        )

    def _first_undecodable(self) -> int:
        number = 0
        try:
            with self._open() as handle:
                for line in io.BufferedReader(handle):
                    line.decode(handle.encoding)
                    number += 1
        except UnicodeError:
            return number
        return 0


class _CappedLines(io.RawIOBase):
    """A byte stream of an encoding that refuses a line longer than `cap`, before it is held in memory."""

    def __init__(self, inner: IO[bytes], encoding: str, name: str, cap: int) -> None:
        super().__init__()
        self.encoding = encoding
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
                cure="write the file with line ends, or raise `csv: {max_line_bytes: ...}` in the config",
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
