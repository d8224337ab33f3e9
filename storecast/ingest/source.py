"""Raw files into Arrow tables of the needed columns, row for row, whatever state the files are in.

Columns of text files stay text here, so that what cannot be read as a number or date can be shown as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa

from storecast.dataset_config import CsvFormat
from storecast.errors import DataError
from storecast.ingest.csv_file import CsvFile
from storecast.ingest.raw_table import BROKEN, RawTable, empty_file, header_only, present
from storecast.store import parquet
from storecast.store import uri as uris


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
        name, path, filesystem = self.find(files)
        if filesystem.size(path) == 0:
            raise empty_file(name)
        if name.endswith(parquet.ENDINGS):
            with filesystem.open(path, "rb") as handle:
                return _read_parquet(name, handle, columns, optional)
        return CsvFile(name, path, filesystem, self.csv).read(columns, optional, dictionary)

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


def _read_parquet(name: str, handle: IO[bytes], columns: Sequence[str], optional: Sequence[str]) -> RawTable:
    try:
        file = parquet.open_file(handle)
        wanted = present(name, file.schema_arrow.names, columns, optional)
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
        raise header_only(name)
    return RawTable(name, table, np.arange(1, table.num_rows + 1, dtype=np.int64))
