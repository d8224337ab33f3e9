"""Raw files into tables of the needed columns, row for row, whatever state the files are in."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from storecast.dataset_config import CsvFormat, is_pattern
from storecast.errors import DataError
from storecast.ingest.csv_file import CsvFile
from storecast.ingest.one_hot import OneHot
from storecast.ingest.parquet_file import ParquetFile
from storecast.ingest.parse import Kind
from storecast.ingest.raw_table import RawFile, RawTable, empty_file
from storecast.store import parquet
from storecast.store import uri as uris


@dataclass(frozen=True)
class Source:
    """A folder of raw files: a path or an fsspec URI."""

    root: str
    csv: CsvFormat = field(default_factory=CsvFormat)

    @classmethod
    def of_file(cls, uri: str, csv: CsvFormat) -> RawFile:
        """The raw file at a URI.

        Raises:
            DataError: it is empty.
        """
        folder, _, name = uri.rpartition("/")
        return cls(folder, csv).file(name)

    def read(
        self,
        files: Sequence[str],
        wanted: Iterable[tuple[str, Kind]],
        optional: Sequence[str] = (),
        *,
        bare: bool = False,
    ) -> list[RawTable]:
        """Read what `open` finds, each file as a table of its own.

        Args:
            files: candidate names in the folder.
            wanted: columns, each with what it holds.
            optional: those of them that need not be there.
            bare: whether a file may have no rows.

        Raises:
            DataError: no candidate exists, a file is damaged, has no rows or lacks a column.
        """
        kinds = list(wanted)
        return [RawTable.read(file, kinds, optional, self.csv, bare=bare) for file in self.open(files)]

    def open(self, files: Sequence[str]) -> list[RawFile]:
        """The first of `files` that exists: one file, or all that a pattern stands for, by name.

        Raises:
            DataError: no candidate exists, or a file is empty.
        """
        for candidate in files:
            if names := self.names(candidate):
                return [self.file(name) for name in names]
        filesystem, root = uris.filesystem(self.root)
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

    def names(self, candidate: str) -> list[str]:
        """The files of the folder that a name stands for: itself, or what fits its `*` and `?`."""
        filesystem, root = uris.filesystem(self.root)
        folder = root.rstrip("/")
        if not is_pattern(candidate):
            return [candidate] if filesystem.isfile(f"{folder}/{candidate}") else []
        found = filesystem.glob(f"{glob.escape(folder)}/{candidate}")
        return sorted(path.removeprefix(f"{folder}/") for path in found if filesystem.isfile(path))

    def file(self, name: str) -> RawFile:
        """The file of that very name.

        Raises:
            DataError: it is empty.
        """
        filesystem, root = uris.filesystem(self.root)
        path = f"{root.rstrip('/')}/{name}"
        if filesystem.size(path) == 0:
            raise empty_file(name)
        if name.endswith(parquet.ENDINGS):
            return OneHot(ParquetFile(name, path, filesystem))
        return OneHot(CsvFile(name, path, filesystem, self.csv))
