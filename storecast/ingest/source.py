"""Raw files into tables of the needed columns, row for row, whatever state the files are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from storecast.dataset_config import CsvFormat
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
    def of_file(cls, uri: str, csv: CsvFormat) -> tuple[Self, str]:
        """The folder of a raw file, and the file's name there."""
        folder, _, name = uri.rpartition("/")
        return cls(folder, csv), name

    def read(
        self, files: Sequence[str], wanted: Iterable[tuple[str, Kind]], optional: Sequence[str] = ()
    ) -> RawTable:
        """Read the first of `files` that exists.

        Args:
            files: candidate names in the folder.
            wanted: columns, each with what it holds.
            optional: those of them that need not be there.

        Raises:
            DataError: no candidate exists, the file is damaged, or a column is missing.
        """
        return RawTable.read(self.open(files), wanted, optional, self.csv)

    def open(self, files: Sequence[str]) -> RawFile:
        """The first of `files` that exists.

        Raises:
            DataError: no candidate exists, or it is empty.
        """
        name, path, filesystem = self.find(files)
        if filesystem.size(path) == 0:
            raise empty_file(name)
        if name.endswith(parquet.ENDINGS):
            return OneHot(ParquetFile(name, path, filesystem))
        return OneHot(CsvFile(name, path, filesystem, self.csv))

    def find(self, files: Sequence[str]) -> tuple[str, str, Any]:
        """The first of `files` that exists: its name, its path, and the filesystem that has it.

        Raises:
            DataError: none of them exists.
        """
        filesystem, root = uris.filesystem(self.root)
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
