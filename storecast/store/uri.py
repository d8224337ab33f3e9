"""Where bytes live: every path is an fsspec URI, a plain folder being the default.

Nothing else in the project knows whether a file is on a disk or in an object store.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import fsspec

from storecast.errors import StoreError
from storecast.store.draft import ENDING, draft_of
from storecast.store.locks import locked


def is_local(uri: str) -> bool:
    """Whether the URI is a path on this machine."""
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> Path:
    """The path of a local URI, absolute."""
    return Path(uri.removeprefix("file://")).absolute()


def join(uri: str, *parts: str) -> str:
    """The URI of something below `uri`."""
    return "/".join([uri.rstrip("/"), *parts])


def name_of(uri: str) -> str:
    """The last part of a URI."""
    return uri.rstrip("/").rsplit("/", 1)[-1]


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI and the path in it.

    Raises:
        StoreError: the URI's protocol needs a package that is not installed.
    """
    try:  # no listings from memory: others write, too
        options = {} if is_local(uri) else {"use_listings_cache": False}
        fs, path = fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(
            "storage of this kind is not available",
            where=uri,
            expected="a folder, or a URI whose fsspec driver is installed",
            found=str(error),
            cure='for s3:// install the extra: pip install "storecast[s3]"',
        ) from error
    return fs, path


def encrypt_s3(kind: str, key: str = "") -> None:
    """Have S3 encrypt what this process writes from now on; what is there stays as it was.

    Args:
        kind: "AES256" for the store's own key, "aws:kms" for one of its key service; "": as the bucket says.
        key: id or ARN of the key of the key service; "": the account's default one.
    """
    asked = {"ServerSideEncryption": kind, "SSEKMSKeyId": key if kind == "aws:kms" else ""}
    given = {name: value for name, value in asked.items() if value}
    options = fsspec.config.conf.setdefault("s3", {})
    if given:
        options["s3_additional_kwargs"] = given
    else:
        options.pop("s3_additional_kwargs", None)


def exists(uri: str) -> bool:
    """Whether there is a file or folder."""
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def content_hash(uri: str) -> str:
    """sha256 of a file's bytes."""
    fs, path = filesystem(uri)
    with fs.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(uri: str) -> str:
    """A file's text.

    Raises:
        StoreError: the file is not there.
    """
    fs, path = filesystem(uri)
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError as error:
        raise StoreError("there is no such file", where=uri, cure="check the path") from error
    return content.decode()


def write_text(uri: str, text: str) -> None:
    """Write a whole file so that a reader sees the old text or the new one, never a part."""
    if is_local(uri):
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path, several=True) as draft:
            draft.write_text(text)
        return
    fs, target = filesystem(uri)
    fs.pipe_file(target, text.encode())


def create_text(uri: str, text: str) -> bool:
    """Write a whole file that is not there yet; False, and nothing is written, where it is.

    Of several writers at once one is told True.
    """
    if is_local(uri):
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".") as file:
            file.write(text)
            file.flush()
            try:
                path.hardlink_to(file.name)
            except FileExistsError:
                return False
        return True
    fs, target = filesystem(uri)
    try:
        fs.pipe_file(target, text.encode(), mode="create")
    except OSError:  # s3fs has no error of its own for a file that is there
        if not fs.exists(target):
            raise
        return False
    return True


def children(uri: str) -> list[str]:
    """Names directly below a folder, sorted; none where it does not exist."""
    return sorted(name_of(str(entry)) for entry in _entries(uri, detail=False))


def files(uri: str) -> list[str]:
    """Names of the files directly in a folder, sorted; none where it does not exist.

    An object store may have an object that stands for the folder itself, whose name ends with a slash.
    """
    found = [str(entry["name"]) for entry in _entries(uri, detail=True) if entry["type"] == "file"]
    return sorted(name_of(name) for name in found if not name.endswith("/"))


def _entries(uri: str, *, detail: bool) -> list[Any]:
    fs, path = filesystem(uri)
    return list(fs.ls(path, detail=detail)) if fs.exists(path) else []


def remove(uri: str) -> None:
    """Remove a folder and all below it; nothing happens where there is none."""
    fs, path = filesystem(uri)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def fetch(uri: str, cache: Path, last: str) -> Path:
    """A local folder with the files below `uri`: the folder itself, or a copy under `cache`.

    Copies are named by the URI's last part, which names immutable content, and made only once.

    Args:
        uri: of a folder.
        cache: where copies are.
        last: the file that `publish` put there last.

    Raises:
        StoreError: that file is not there: the rest may not be, either.
    """
    if is_local(uri):
        return local_path(uri)
    target = cache / name_of(uri)
    if not (target / last).is_file():
        with locked(cache / f".{target.name}.lock"):
            if not (target / last).is_file():  # no other process was first
                _download(uri, target, last)
    return target


def _download(uri: str, target: Path, last: str) -> None:
    """Copy a whole folder; what cannot be finished, or was not before, is removed."""
    if not exists(join(uri, last)):
        raise StoreError("this folder is incomplete", where=uri, expected=f"one with {last}")
    fs, path = filesystem(uri)
    part = target.with_name(f".{target.name}{ENDING}")
    for left in (target, part):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir()
    try:
        fs.get(path.rstrip("/") + "/", f"{part}/", recursive=True)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish(folder: Path, uri: str, last: str) -> None:
    """Make a finished local folder visible at `uri`, whole or not at all.

    On a disk it is renamed. In an object store, which cannot rename, the file named `last` goes up
    last and its presence says that the rest is there. If somebody else published first, theirs stays.
    """
    if is_local(uri):
        target = local_path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not (target / last).exists():
                raise
            shutil.rmtree(folder)
        return
    fs, target_path = filesystem(uri)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for file in sorted(files, key=lambda p: p == folder / last):
        fs.put_file(str(file), join(target_path, file.relative_to(folder).as_posix()))
    shutil.rmtree(folder)
