"""API keys: who may ask what. Only hashes are stored; a key is shown once, when it is made.

A key reads `sc_<id>_<secret>`, the secret being 32 random bytes, so that one round of SHA-256 suffices. The
file is replaced whole; the service needs no restart: it takes a new key at once, and a revoked one no longer
within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from storecast.errors import ConfigError
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.store.locks import locked

SCOPES = ("read", "what-if", "admin")
ID = re.compile(r"[a-z0-9-]{1,40}")
LOOK_SECONDS = 0.2
"""How often a key that is not known has the file looked at again: guesses do not have it read each time."""
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Key:
    """What the file says of a key.

    Attributes:
        id: who; shown in logs.
        hash: SHA-256 of the whole key, hex.
        scopes: of `SCOPES`.
        expires: ISO time, or "" for never.
        created: ISO time.
    """

    id: str
    hash: str
    scopes: tuple[str, ...]
    expires: str
    created: str

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return bool(self.expires) and datetime.fromisoformat(self.expires) <= now


ANYBODY = Key("-", "", ("read", "what-if"), "", "")
"""Who asks without a key, where the settings allow that."""


class KeyRing:
    """The keys in force, of one file or several, each read again when it changes.

    Args:
        paths: the files, which need not be there. Of two keys of one id that of the later file counts.
    """

    def __init__(self, *paths: Path) -> None:
        self._stamps: dict[Path, tuple[int, int] | None] = dict.fromkeys(paths)
        self._read: dict[Path, list[Key]] = {path: [] for path in paths}
        self._keys: dict[str, Key] = {}
        self.trouble = ""
        self._looked_for = float("-inf")
        self.refresh()

    def refresh(self) -> None:
        """Read the files that are other ones; a broken file is reported and changes nothing."""
        troubles = []
        for path, known in self._stamps.items():
            try:
                stamp = _stamp(path)
                if stamp != known:
                    self._read[path] = read(path)
                    self._stamps[path] = stamp
            except (ConfigError, OSError) as error:
                troubles.append(str(error))
        self._keys = {key.id: key for path in self._stamps for key in self._read[path]}
        self.trouble = "; ".join(troubles)

    def find(self, token: bytes) -> Key | None:
        """The key that a token is, or None; one that is not known may have been made since the last look."""
        key = self._known(token)
        if key is None and (now := time.monotonic()) - self._looked_for >= LOOK_SECONDS:
            self._looked_for = now
            self.refresh()
            key = self._known(token)
        return key

    def _known(self, token: bytes) -> Key | None:
        """The key among those read. Takes the same time for every wrong secret of an id."""
        digest = hashlib.sha256(token).hexdigest()
        parts = token.split(b"_", 2)
        key = self._keys.get(parts[1].decode("ascii", "replace")) if len(parts) == 3 else None
        same = hmac.compare_digest(digest, key.hash if key else _NOBODY)
        if key is None or not same or key.expired(datetime.now(UTC)):
            return None
        return key


def keys_path(settings: Settings) -> Path:
    """Where the keys' hashes are: the file that is written."""
    return settings.serving_keys or settings.serving_home / "keys.json"


def key_files(settings: Settings) -> list[Path]:
    """All files with keys in force: that one, and the platform's own keys, which win."""
    return [path for path in (keys_path(settings), settings.serving_platform_keys) if path]


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with a file; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def read(path: Path) -> list[Key]:
    """The keys of a file; none where there is no file.

    Raises:
        ConfigError: the file is not one of keys.
    """
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text())["keys"]
        found = [Key(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
        [key.expired(datetime.now(UTC)) for key in found]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "this is not a file of API keys",
            where=str(path),
            expected='{"keys": [{"id", "hash", "scopes", "expires", "created"}]}',
            found=type(error).__name__,
            cure="remove it and make the keys anew: storecast keys create",
        ) from error
    return found


def create(path: Path, key_id: str, scopes: Iterable[str], expires: datetime | None) -> str:
    """Add a key, or a new secret for an id that exists, and return it; it cannot be had again.

    Raises:
        ConfigError: the id or a scope is not valid.
    """
    wanted = tuple(dict.fromkeys(scopes))
    if not ID.fullmatch(key_id):
        raise ConfigError(
            "the id is not valid", where="--id", expected="a-z, 0-9 and -, at most 40", found=key_id
        )
    if not wanted or set(wanted) - set(SCOPES):
        raise ConfigError(
            "there is no such scope",
            where="--scope",
            expected=", ".join(SCOPES),
            found=", ".join(wanted) or "none",
        )
    token = f"sc_{key_id}_{secrets.token_hex(32)}"
    until = expires.isoformat(timespec="seconds") if expires else ""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = Key(key_id, hashlib.sha256(token.encode()).hexdigest(), wanted, until, now)
    _change(path, lambda keys: [*(key for key in keys if key.id != key_id), made])
    return token


def revoke(path: Path, key_id: str) -> None:
    """Remove a key.

    Raises:
        ConfigError: there is none with this id.
    """
    if key_id not in {key.id for key in read(path)}:
        raise ConfigError(
            "there is no key with this id", where=str(path), found=key_id, cure="storecast keys list"
        )
    _change(path, lambda keys: [key for key in keys if key.id != key_id])


def _change(path: Path, change: Callable[[list[Key]], list[Key]]) -> None:
    with locked(path.with_suffix(".lock")):
        content = {"keys": [asdict(key) for key in change(read(path))]}
        uris.write_text(str(path), json.dumps(content, indent=1) + "\n")  # readable by the owner alone
