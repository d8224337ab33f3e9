"""The keys that a store's Parquet files are encrypted with: a file with one on each line, the newest first.

    2026-11:q0Nd8b...=          an id, then 32 random bytes in base64

The first key encrypts what is written; every key opens what was written by it. The file is read anew each
time a key is needed, so a key that is added holds for running processes, too.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

from storecast.errors import ConfigError

BYTES = 32
_LINE = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,63}):(?P<key>[A-Za-z0-9+/]{43}=)")
_CURE = '(umask 077; echo "$(date +%Y-%m):$(head -c 32 /dev/urandom | base64)" > FILE) makes one'


@dataclass(frozen=True)
class Keys:
    """Keys by id, the newest first."""

    ids: tuple[str, ...]
    values: tuple[bytes, ...] = field(repr=False)

    @property
    def newest(self) -> str:
        """Id of the key that encrypts what is written."""
        return self.ids[0]

    @property
    def told(self) -> str:
        """What these keys do, without themselves."""
        return f"key {self.newest} encrypts; keys {', '.join(self.ids)} open, and plain files are read, too"

    def get(self, key_id: str) -> bytes | None:
        """A key, or None."""
        return dict(zip(self.ids, self.values, strict=True)).get(key_id)


class _Given:
    """The file that this process was told to use."""

    path: Path | None = None


def use(path: Path | None) -> None:
    """Encrypt the Parquet files that this process writes from now on by the keys of a file; None: do not.

    Raises:
        ConfigError: the file cannot be read, or its content is not keys.
    """
    _Given.path = path.absolute() if path else None
    in_force()


def in_force() -> Keys | None:
    """The keys, or None where files are not encrypted.

    Raises:
        ConfigError: the file cannot be read, or its content is not keys.
    """
    return read_keys(_Given.path) if _Given.path else None


def where() -> str:
    """The file of the keys, for messages."""
    return str(_Given.path or "store_key_file")


def read_keys(path: Path) -> Keys:
    """The keys of a file; empty lines and those that begin with # are left out.

    Raises:
        ConfigError: the file cannot be read, has no key, a line that is none, or two of one id.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file of the store's keys cannot be read",
            where=f"store_key_file {path}",
            expected="a text file with a line ID:KEY for each key",
            found=getattr(error, "strerror", None) or "other characters than ASCII",
            cure=f"correct the path, or make the file: {_CURE}",
        ) from error
    found: dict[str, bytes] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["id"] in found:
            raise ConfigError(
                "not a key of the store" if match is None else f"a second key of the id {match['id']}",
                where=f"store_key_file {path}, line {number}",  # never the line itself
                expected=f"ID:KEY, KEY being {BYTES} bytes in base64, each ID once",
                cure=_CURE,
            )
        found[match["id"]] = base64.b64decode(match["key"])
    if not found:
        raise ConfigError("there is no key in it", where=f"store_key_file {path}", cure=_CURE)
    return Keys(tuple(found), tuple(found.values()))
