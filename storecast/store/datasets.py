"""Immutable data sets: each stage's output is a folder named by what it was made from.

The folder's key is a hash of the stage, its inputs' content, its configuration and its code, so a stage
whose key exists is not run again. The folder is written under a temporary name and renamed when whole;
`manifest.json` lists every file with its checksum, and for Parquet its rows and schema.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storecast.errors import StoreError
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.work import work_folder

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dataset:
    """A finished data set: where it is and what its manifest says."""

    uri: str
    manifest: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """Hash of the content: equal content, equal hash, whatever made it."""
        return str(self.manifest["hash"])

    @property
    def key(self) -> str:
        """Name of the folder: hash of everything that went into making it."""
        return str(self.manifest["key"])

    @property
    def counts(self) -> Mapping[str, Any]:
        """What the stage counted while making it."""
        counts: Mapping[str, Any] = self.manifest["counts"]
        return counts


class DatasetStore:
    """The data sets under one root URI, and the scratch space of builds that are under way."""

    def __init__(self, root: str, scratch: Path | None = None) -> None:
        self.root = root if not uris.is_local(root) else str(uris.local_path(root))
        self.scratch = scratch or (
            Path(self.root) / "scratch" if uris.is_local(root) else Path.home() / ".cache" / "storecast"
        )

    def path(self, dataset: Dataset | str) -> Path:
        """A local folder with the data set's files."""
        uri = dataset if isinstance(dataset, str) else dataset.uri
        return uris.fetch(uri, self.scratch / "cache", MANIFEST)

    def open(self, uri: str) -> Dataset:
        """The data set at a URI.

        Raises:
            StoreError: nothing is there, or it was never finished.
        """
        manifest = uris.join(uri, MANIFEST)
        if not uris.exists(manifest):
            raise StoreError(
                "this is not a finished data set",
                where=uri,
                expected=f"a folder with a {MANIFEST}",
                cure="run the stage that makes it, or check the URI",
            )
        return Dataset(uri=uri, manifest=json.loads(uris.read_text(manifest)))

    def find(self, stage: str, key: str) -> Dataset | None:
        """The data set with that key, or None."""
        uri = uris.join(self.root, "datasets", stage, key)
        return self.open(uri) if uris.exists(uris.join(uri, MANIFEST)) else None

    def materialise(
        self,
        stage: str,
        *,
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        code: str,
        build: Callable[[Path, Path], Mapping[str, Any]],
    ) -> Dataset:
        """The data set these inputs lead to: found, or built now.

        Args:
            stage: name of the stage, also the folder that holds its outputs.
            inputs: content hash of each input by name.
            config: everything that is configured, JSON-serialisable.
            code: version of the code, see `storecast.store.code`.
            build: called with an empty folder to fill and a work folder that outlives a killed build
                (for checkpoints); returns the counts for the manifest.

        Raises:
            StoreError: the build raised an error of the file system.
        """
        recipe = {"stage": stage, "inputs": dict(inputs), "config": dict(config), "code": code}
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        if found := self.find(stage, key):
            return found
        name = f"{stage}-{key}"
        remote = "" if uris.is_local(self.root) else uris.join(self.root, "work", name)
        with work_folder(self.scratch / "work" / name, remote) as work, self.building(name) as folder:
            counts = build(folder, work)
            files = describe_files(folder)
            made = {"key": key, "hash": content_hash(files), "counts": dict(counts), "files": files}
            (folder / MANIFEST).write_text(json.dumps({**recipe, **made}, indent=1, sort_keys=True) + "\n")
            uris.publish(folder, uris.join(self.root, "datasets", stage, key), last=MANIFEST)
        return self.open(uris.join(self.root, "datasets", stage, key))

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """An empty temporary folder to fill and publish; if it is still there at the end, it is removed.

        What dead builds of the same name left is removed, too.
        """
        folder = self._fresh_folder(name)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fresh_folder(self, name: str) -> Path:
        parent = self.scratch / "building"
        parent.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname()
        for left in parent.glob(f"{name}@{host}@*"):
            if not _alive(int(left.name.rsplit("@", 1)[-1])):
                shutil.rmtree(left, ignore_errors=True)
        folder = parent / f"{name}@{host}@{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Each file below `folder` by relative name: bytes and sha256; of Parquet also rows and schema, and where
    it is encrypted `content`, the sha256 that it would have as a plain file."""
    return {name: _describe(path) for name, path in _files(folder)}


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of the bytes of each file below `folder` by relative name. Encrypted files stay closed."""
    return {name: file_hash(path) for name, path in _files(folder)}


def content_hash(files: Mapping[str, Mapping[str, Any]]) -> str:
    """One hash for a set of described files: the same, whether they are encrypted or not."""
    hashes = {name: entry.get("content") or entry["sha256"] for name, entry in files.items()}
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path.relative_to(folder).as_posix(), path


def _describe(path: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": file_hash(path)}
    if path.suffix == ".parquet":
        with parquet.open_file(path) as file:
            entry["rows"] = file.metadata.num_rows
            entry["schema"] = {field.name: str(field.type) for field in file.schema_arrow}
            if content := parquet.content_of(file):
                entry["content"] = content
    return entry


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
