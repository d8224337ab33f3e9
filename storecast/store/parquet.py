"""Parquet: the one place where it is read and written, and that knows whether it is encrypted.

Without keys (`storecast.store.keyring`) files are plain. With keys, every file is written with Parquet's
modular encryption (AES-GCM, the footer and all columns): each has a random key of its own, wrapped by a key
that is wrapped by the newest of the store's keys, and says in the clear by which. Plain files are read, too.

Encrypted bytes differ at each write, so an encrypted file carries, inside, the SHA-256 that it would have as
a plain one: what is named by its content keeps its name.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from storecast.errors import StoreError
from storecast.store import encryption, keyring
from storecast.store.draft import draft_of

if TYPE_CHECKING:
    import pandas as pd

Compression = Literal["zstd", "snappy"]
ENDINGS = (".parquet", ".pq")
"""How the names of Parquet files end."""
ENCRYPTED = b"PARE"
"""How a file with an encrypted footer begins; a plain one begins with PAR1."""
_CONTENT = "storecast.content"


class Writer:
    """A Parquet file that is written table by table; close it, or use it as a context manager.

    Args:
        path: the file.
        schema: of all tables.
        compression: of the columns.
        level: of the compression; None: its default.
        content: SHA-256 of the plain file, where it is known already; "": found while writing.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        compression: Compression = "zstd",
        level: int | None = None,
        content: str = "",
    ) -> None:
        keys = keyring.in_force()
        self._content, self._digest = content, _Digest()
        self._twin: Any = None
        options = {"compression": compression, "compression_level": level}
        if keys and not content:  # the same file once more, plain: only its hash is kept
            self._twin = pq.ParquetWriter(self._digest, schema, **options)
        locks = encryption.locking(keys) if keys else None
        self._encrypted = keys is not None
        self._file = pq.ParquetWriter(path, schema, encryption_properties=locks, **options)

    def write(self, table: pa.Table, *, one_group: bool = False) -> None:
        """Append a table, as one row group where that is asked for."""
        rows = max(len(table), 1) if one_group else None
        for writer in (self._file, self._twin):
            if writer is not None:
                writer.write_table(table, row_group_size=rows)

    def close(self) -> None:
        """Write the footer."""
        if self._twin is not None:
            self._twin.close()
            self._content = self._digest.sha256.hexdigest()
        if self._encrypted:
            self._file.add_key_value_metadata({_CONTENT: self._content})
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_table(table: pa.Table, path: Path, compression: Compression = "zstd") -> None:
    """Write a table under a temporary name and rename it; plain, the same table gives the same bytes."""
    with draft_of(path) as draft, Writer(draft, table.schema, compression=compression) as writer:
        writer.write(table)


def write_groups(
    tables: Iterable[pa.Table], path: Path, compression: Compression = "zstd", level: int | None = None
) -> int:
    """Write tables of one schema, at least one, as `write_table` does; each is a row group.

    Returns:
        The number of rows written.
    """
    rest = iter(tables)
    first = next(rest)
    rows = len(first)
    with (
        draft_of(path) as draft,
        Writer(draft, first.schema, compression=compression, level=level) as writer,
    ):
        writer.write(first, one_group=True)
        del first
        for table in rest:
            writer.write(table, one_group=True)
            rows += len(table)
    return rows


def write_frame(frame: pd.DataFrame, path: Path, compression: Compression = "snappy") -> None:
    """Write a frame without its index, as `write_table` does."""
    write_table(pa.Table.from_pandas(frame, preserve_index=False), path, compression)


def export_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame that leaves the store, at a person's wish: always plain."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def encrypt_file(path: Path) -> None:
    """Encrypt a file that was handed in, in place, where it is Parquet and there are keys.

    One that is damaged stays as it is.
    """
    if keyring.in_force() is None or not path.name.endswith(ENDINGS) or _is_encrypted(path):
        return
    try:
        with pq.ParquetFile(path) as plain:
            schema = plain.schema_arrow
            groups = [plain.read_row_group(number) for number in range(plain.num_row_groups)]
    except (OSError, pa.ArrowException):
        return
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    with draft_of(path) as draft, Writer(draft, schema, content=content) as writer:
        for group in groups:
            writer.write(group, one_group=True)


def read_table(
    source: Path | IO[bytes], columns: Sequence[str] | None = None, *, memory_map: bool = False
) -> pa.Table:
    """Read a table, or some of its columns.

    Raises:
        StoreError: it is encrypted, and its key is not given.
        OSError, pa.ArrowException: it is damaged or missing.
    """
    chosen = list(columns) if columns is not None else None
    with _explained(source) as opening:
        return pq.read_table(source, columns=chosen, memory_map=memory_map, decryption_properties=opening)


def read_frame(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    where: Mapping[str, Collection[str]] | None = None,
    categories: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a frame, or some of it; raises what `read_table` does.

    Args:
        path: the file.
        columns: None: all.
        where: by column, the values of the rows that are wanted; of the others memory holds few at a time.
        categories: columns of texts that are read as categoricals: a number a row and each text once.
    """
    import pandas as pd

    chosen = list(columns) if columns is not None else None
    rows = [(name, "in", list(values)) for name, values in (where or {}).items()] or None
    with _explained(path) as opening:
        frame: pd.DataFrame = pd.read_parquet(
            path,
            columns=chosen,
            filters=rows,
            read_dictionary=list(categories) or None,
            decryption_properties=opening,
        )
    return frame


def open_file(source: Path | IO[bytes], *, memory_map: bool = False) -> pq.ParquetFile:
    """Open a file to read its row groups; raises what `read_table` does."""
    with _explained(source) as opening:
        return pq.ParquetFile(source, memory_map=memory_map, decryption_properties=opening)


def content_of(file: pq.ParquetFile) -> str:
    """The SHA-256 that an encrypted file would have as a plain one; "" for a plain file."""
    return ((file.metadata.metadata or {}).get(_CONTENT.encode()) or b"").decode()


class _Digest(io.RawIOBase):
    """Takes what is written, and keeps its hash only."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


@contextmanager
def _explained(source: Path | IO[bytes]) -> Iterator[Any]:
    """What opens encrypted files (None without keys), and errors that say which key is missing."""
    keys = keyring.in_force()
    try:
        yield encryption.opening(keys) if keys else None
    except encryption.LockedError as error:
        given = ", ".join(keys.ids) if keys else ""
        raise StoreError(
            str(error),
            where=_name(source),
            expected="a file that the keys open",
            found=f"keys {given} in {keyring.where()}",
            cure=error.cure,
        ) from error
    except (OSError, pa.ArrowException) as error:
        if keys is None and _is_encrypted(source):
            raise StoreError(
                "is encrypted, and no key is given",
                where=_name(source),
                expected="STORECAST_STORE_KEY_FILE, or store_key_file in storecast.yaml",
                cure="name the file of the store's keys; without them nothing opens it",
            ) from error
        raise


def _is_encrypted(source: Path | IO[bytes]) -> bool:
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return file.read(len(ENCRYPTED)) == ENCRYPTED
        source.seek(0)
        return source.read(len(ENCRYPTED)) == ENCRYPTED
    except (OSError, ValueError):  # missing, or closed
        return False


def _name(source: Path | IO[bytes]) -> str:
    if isinstance(source, Path):
        return str(source)
    return str(getattr(source, "path", None) or getattr(source, "name", source))
