"""The password file, for set-ups without an OIDC provider: who may look, who may act.

Passwords are kept as scrypt's hashes with a salt each (RFC 7914, N = 2^15, r = 8, p = 1: 32 MiB and some
0.1 s per guess). The file is replaced whole and readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from storecast.errors import ConfigError
from storecast.settings import Settings
from storecast.store import uri as uris

SHORTEST = 8
COST, BLOCK, PARALLEL = 2**15, 8, 1
_NOBODY = "00" * 16
_GUESSES = threading.BoundedSemaphore(2)
"""So many guesses are computed at a time: those of many visitors at once would take all memory."""


class Role(StrEnum):
    """What somebody may do: look, or act as well."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class PasswordEntry:
    """What the file says of a user: `salt` and `hash` in hex, `since` an ISO time."""

    name: str
    role: Role
    salt: str
    hash: str
    since: str


def users_path(settings: Settings) -> Path:
    """Where the password file is."""
    return settings.dashboard_users or settings.home.absolute() / "dashboard" / "users.json"


def read(path: Path) -> list[PasswordEntry]:
    """The users of a file; none where there is no file.

    Raises:
        ConfigError: the file is not one of users.
    """
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text())["users"]
        return [PasswordEntry(**{**entry, "role": Role(entry["role"])}) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "this is not a file of the dashboard's users",
            where=str(path),
            expected='{"users": [{"name", "role", "salt", "hash", "since"}]}',
            found=type(error).__name__,
            cure="remove it and add the users anew: storecast dashboard add-user",
        ) from error


def add(path: Path, name: str, password: str, role: Role) -> None:
    """Add a user, or give one a new password and role.

    Raises:
        ConfigError: the name is empty or the password too short.
    """
    if not name.strip() or len(password) < SHORTEST:
        raise ConfigError(
            "a user needs a name and a password",
            expected=f"at least {SHORTEST} characters in the password",
            found=f"{len(password)}",
        )
    salt = secrets.token_hex(16)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = PasswordEntry(name, role, salt, _hash(password, salt), now)
    _change(path, lambda users: [*(user for user in users if user.name != name), made])


def remove(path: Path, name: str) -> None:
    """Remove a user.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in {user.name for user in read(path)}:
        raise ConfigError(
            "there is no such user", where=str(path), found=name, cure="storecast dashboard users"
        )
    _change(path, lambda users: [user for user in users if user.name != name])


def check(path: Path, name: str, password: str) -> PasswordEntry | None:
    """The user, if the password is right; takes as long for a name that does not exist."""
    found = next((user for user in read(path) if user.name == name), None)
    with _GUESSES:
        digest = _hash(password, found.salt if found else _NOBODY)
    return found if found and hmac.compare_digest(digest, found.hash) else None


def _hash(password: str, salt: str) -> str:
    return hashlib.scrypt(
        password.encode(),
        salt=bytes.fromhex(salt),
        n=COST,
        r=BLOCK,
        p=PARALLEL,
        maxmem=2 * 128 * COST * BLOCK,
    ).hex()


def _change(path: Path, change: Callable[[list[PasswordEntry]], list[PasswordEntry]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"users": [asdict(user) for user in change(read(path))]}
    uris.write_text(str(path), json.dumps(content, indent=1) + "\n")
