"""The archive: folders as compressed tars with a record of every file's checksum, and back again.

    <archive>/<name>.tar.zst     the files
    <archive>/<name>.json        the record, written last: it says that the tar is whole

Something leaves the workspace only once its tar has been read back from where it lies and every file in it
has the checksum that it had. Whatever is killed in between is done by the next attempt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from storecast.errors import StoreError
from storecast.store import uri as uris
from storecast.store.datasets import MANIFEST
from storecast.store.draft import draft_of
from storecast.store.releases import CHECKSUMS
from storecast.store.retention import Item

TAR, RECORD = ".tar.zst", ".json"
LAST = (MANIFEST, CHECKSUMS)
"""Files that say that a folder is whole: the first to be removed and the last to be restored."""
ALONE = "content"
"""Name in the tar of something that is a file itself."""


@dataclass(frozen=True)
class Archived:
    """Something in the archive: its name in the workspace, kind, each file's sha256, and the tar's size."""

    name: str
    kind: str
    files: Mapping[str, str]
    bytes: int


class Archive:
    """An archive at a URI, of the workspace at another."""

    def __init__(self, root: str, uri: str = "") -> None:
        self.root = root
        self.uri = uri or uris.join(root, "archive")

    def put(self, item: Item) -> Archived:
        """Write something to the archive and verify it there; what is there already is not written again."""
        there = self._record(item.name)
        with tempfile.TemporaryDirectory(prefix="storecast-archive-") as folder:
            tar = Path(folder) / "tar"
            files = self._pack(item, tar)
            if there and there.files == files and self._holds(there):
                return there
            made = Archived(item.name, item.kind, files, tar.stat().st_size)
            _upload(tar, self._uri(item.name, TAR))
        if not self._holds(made):
            raise StoreError(
                "what was archived is not what was read back; the original stays",
                where=self._uri(item.name, TAR),
                expected="each file as its checksum says",
                cure="look at the storage, and archive again",
            )
        uris.write_text(self._uri(item.name, RECORD), json.dumps(vars(made), indent=1, sort_keys=True) + "\n")
        return made

    def leaves(self, item: Item) -> bool:
        """Whether the workspace has only a rest of what is archived: its removal was killed."""
        there = self._record(item.name)
        if there is None or len(item.files) >= len(there.files):
            return False
        names = {path or ALONE for path in item.files}
        return names <= set(there.files) and all(self._hash(item, p) == there.files[p] for p in item.files)

    def names(self) -> list[Archived]:
        """What is in the archive, by name."""
        fs, base = uris.filesystem(self.uri)
        found = fs.find(base) if fs.exists(base) else []
        names = [str(path)[len(base) :].strip("/") for path in found if str(path).endswith(RECORD)]
        records = (self._record(name.removesuffix(RECORD)) for name in sorted(names))
        return [record for record in records if record]

    def restore(self, name: str) -> str:
        """Put something back where it was, and verify it; the URI. What is there already stays as it is.

        Raises:
            StoreError: there is no such thing in the archive, or it is damaged.
        """
        record = self._record(name)
        if record is None:
            names = [archived.name for archived in self.names()]
            raise StoreError(
                "the archive does not hold it",
                where=self.uri,
                found=name,
                expected=f"one of {', '.join(names[:20]) or 'nothing: the archive is empty'}",
                cure="storecast archive list",
            )
        target = uris.join(self.root, name)
        with tempfile.TemporaryDirectory(prefix="storecast-restore-") as folder:
            if self._unpack(record, Path(folder)) != record.files:
                raise StoreError(
                    "the archive's copy is damaged; nothing was restored", where=self._uri(name, TAR)
                )
            if ALONE in record.files:
                _upload(Path(folder) / ALONE, target)
            else:
                _put_back(Path(folder), target)
        return target

    def _pack(self, item: Item, tar: Path) -> dict[str, str]:
        """Write the files of an item into a local tar; the sha256 of each."""
        fs, base = uris.filesystem(uris.join(self.root, item.name))
        sums: dict[str, str] = {}
        with pa.CompressedOutputStream(str(tar), "zstd") as out, tarfile.open(fileobj=out, mode="w|") as pack:
            for path in sorted(item.files):
                entry = tarfile.TarInfo(path or ALONE)
                with fs.open(f"{base}/{path}" if path else base, "rb") as file, _spooled(file) as copy:
                    entry.size = copy.seek(0, os.SEEK_END)
                    copy.seek(0)
                    pack.addfile(entry, copy)
                    copy.seek(0)
                    sums[entry.name] = hashlib.file_digest(copy, "sha256").hexdigest()
        return sums

    def _holds(self, record: Archived) -> bool:
        """Whether the archive's tar has every file as the record says, read from where it lies."""
        if not uris.exists(self._uri(record.name, TAR)):
            return False
        with tempfile.TemporaryDirectory(prefix="storecast-verify-") as folder:
            try:
                return self._unpack(record, Path(folder)) == record.files
            except (tarfile.TarError, OSError, EOFError):
                return False

    def _unpack(self, record: Archived, folder: Path) -> dict[str, str]:
        """Unpack the tar into a folder; the sha256 of each file."""
        fs, path = uris.filesystem(self._uri(record.name, TAR))
        with (
            fs.open(path, "rb") as file,
            pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as unzipped,
            tarfile.open(fileobj=unzipped, mode="r|") as pack,
        ):
            pack.extractall(folder, filter="data")
        found = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        return {p.relative_to(folder).as_posix(): uris.content_hash(str(p)) for p in found}

    def _record(self, name: str) -> Archived | None:
        uri = self._uri(name, RECORD)
        return Archived(**json.loads(uris.read_text(uri))) if uris.exists(uri) else None

    def _uri(self, name: str, suffix: str) -> str:
        return uris.join(self.uri, name) + suffix

    def _hash(self, item: Item, path: str) -> str:
        return uris.content_hash(
            uris.join(self.root, item.name, path) if path else uris.join(self.root, item.name)
        )


def remove(root: str, item: Item) -> None:
    """Remove something from the workspace so that nobody finds a part of it: on a disk it is renamed first,
    in an object store the file that says it is whole goes first."""
    uri = uris.join(root, item.name)
    if uris.is_local(uri):
        path, trash = uris.local_path(uri), uris.local_path(root) / "scratch" / "removed"
        trash.mkdir(parents=True, exist_ok=True)
        path.rename(Path(tempfile.mkdtemp(dir=trash)) / path.name)
        shutil.rmtree(trash, ignore_errors=True)
        return
    fs, base = uris.filesystem(uri)
    for name in LAST:
        if name in item.files:
            fs.rm(f"{base}/{name}")
    uris.remove(uri)


def _put_back(folder: Path, target: str) -> None:
    last = next((name for name in LAST if (folder / name).exists()), "")
    if uris.exists(uris.join(target, last) if last else target):
        return
    for path in folder.rglob("*"):
        os.utime(path)  # as old as its restoring, or the next run would archive it again
    if uris.is_local(target):
        place = uris.local_path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder, part)
        part.rename(place)
    else:
        copy = folder.with_name(f"{folder.name}-copy")
        shutil.copytree(folder, copy)
        uris.publish(copy, target, last=last)


def _upload(file: Path, uri: str) -> None:
    """Copy a local file to a URI, whole or not at all."""
    if uris.is_local(uri):
        target = uris.local_path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(target) as draft:
            shutil.copyfile(file, draft)
    else:
        fs, path = uris.filesystem(uri)
        fs.put_file(str(file), path)


@contextmanager
def _spooled(file: IO[bytes]) -> Iterator[Any]:
    """A local copy to read twice: in memory as long as it is small."""
    with tempfile.SpooledTemporaryFile(max_size=64 * 1024 * 1024) as copy:
        shutil.copyfileobj(file, copy, 1024 * 1024)
        yield copy
