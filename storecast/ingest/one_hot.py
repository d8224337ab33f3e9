"""Columns of words as columns of 1 and 0: `offer=BOGO` is 1 where the file's column `offer` says BOGO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from storecast.ingest.raw_table import Malformed, RawFile


@dataclass(frozen=True)
class OneHot:
    """A raw file that may also be asked for `column=word`. A column whose very name that is goes first."""

    file: RawFile

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    def about_rows(self) -> int:
        """How many rows the file has; see `RawFile`."""
        return self.file.about_rows()

    def columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        """The wanted columns that the file has, or can make; see `RawFile`."""
        told = self._columns_of([*columns, *optional])
        here = self.file.columns([told[name] for name in columns], [told[name] for name in optional])
        return [name for name in told if told[name] in here]

    def batches(
        self, columns: Sequence[str], malformed: Callable[[Malformed], None]
    ) -> Iterator[pa.RecordBatch]:
        """These columns, some rows at a time; see `RawFile`."""
        told = self._columns_of(columns)
        for batch in self.file.batches(list(dict.fromkeys(told.values())), malformed):
            made = [
                batch.column(column) if column == name else _says(batch.column(column), name)
                for name, column in told.items()
            ]
            yield pa.RecordBatch.from_arrays(made, list(told), metadata=batch.schema.metadata)

    def _columns_of(self, names: Iterable[str]) -> dict[str, str]:
        """The file's column that each of some columns is told from."""
        made = [name for name in names if "=" in name]
        own = self.file.columns([], made) if made else []
        return {name: name.partition("=")[0] if name in made and name not in own else name for name in names}


def _says(column: pa.Array, name: str) -> pa.Array:
    """1 where the column says the word of `column=word`, 0 where another; missing where it is empty."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.equal(texts, name.partition("=")[2]).cast(pa.int8())
