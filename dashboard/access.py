"""Who somebody is and what they may do.

Three ways, the first that is set up: an OIDC provider in Streamlit's secrets; the password file; or nobody is
asked, which `dashboard.start` allows on loopback only.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import streamlit as st

from dashboard import start, users
from dashboard.users import Role
from storecast.errors import ConfigError, StorecastError
from storecast.settings import Settings, load_settings

FREE_TRIES, WAIT_SECONDS = 5, 30.0
"""After so many wrong passwords for a name, the next try must wait so long."""
MOST_NAMES, LONGEST_NAME = 10_000, 100
"""Of so many names, so much of each, the wrong passwords are remembered."""
_USER = "user"


class NotAllowedError(StorecastError):
    """Somebody may not do this."""


@dataclass(frozen=True)
class Person:
    """Who is here: `how` is "oidc", "password" or "local"."""

    name: str
    role: Role
    how: str

    @property
    def acts(self) -> bool:
        """Whether they may act, not only look."""
        return self.role is Role.OPERATOR


def person() -> Person | None:
    """Who is here, or None before they have logged in.

    Raises:
        ConfigError: nobody is asked, yet the dashboard is open to a network.
    """
    settings = load_settings()
    if start.has_provider():
        return _from_provider(settings)
    if users.users_path(settings).exists():
        return _from_file(settings)
    address = str(st.get_option("server.address") or "")
    if not start.is_loopback(address):
        raise ConfigError(
            "the dashboard is open to a network and asks nobody who they are",
            where=f"server.address {address or 'any'}",
            cure="storecast dashboard add-user NAME --role operator",
        )
    return Person("local", Role.OPERATOR, "local")


def log_in(name: str, password: str) -> bool:
    """Log in with a password; whether it was right.

    Raises:
        NotAllowedError: too many wrong passwords for this name.
    """
    if not _tries().take(name[:LONGEST_NAME]):
        raise NotAllowedError(
            "too many wrong passwords", found=name, cure=f"try again in {WAIT_SECONDS:.0f} s"
        )
    found = users.check(users.users_path(load_settings()), name, password)
    if found:
        _tries().forget(name[:LONGEST_NAME])
        st.session_state[_USER] = found
    return found is not None


def log_out() -> None:
    """Forget who is here."""
    st.session_state.pop(_USER, None)
    if start.has_provider():
        st.logout()


class _Tries:
    """The latest names that were tried: how often without success, and when last."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Whether a password may be tried now; if so it counts as wrong until it was right."""
        now = time.monotonic()
        with self._lock:
            wrong, last = self._wrong.get(name, (0, now))
            if wrong >= FREE_TRIES and now - last < WAIT_SECONDS:
                return False
            self._wrong.pop(name, None)  # the name comes to the end
            self._wrong[name] = (wrong + 1, now)
            if len(self._wrong) > MOST_NAMES:
                del self._wrong[next(iter(self._wrong))]
            return True

    def forget(self, name: str) -> None:
        """The password was right."""
        with self._lock:
            self._wrong.pop(name, None)


@st.cache_resource
def _tries() -> _Tries:
    return _Tries()


def _from_provider(settings: Settings) -> Person | None:
    if not st.user.is_logged_in:
        return None
    verified = st.user.get("email_verified") is not False  # else anybody could say to be an operator
    name = str((st.user.get("email") if verified else None) or st.user.get("sub"))
    operators = {each.strip().lower() for each in settings.dashboard_operators.split(",") if each.strip()}
    return Person(name, Role.OPERATOR if name.lower() in operators else Role.VIEWER, "oidc")


def _from_file(settings: Settings) -> Person | None:
    """Who logged in, if the file still says so: a removed user or a new password ends it."""
    known = st.session_state.get(_USER)
    same = [user for user in users.read(users.users_path(settings)) if known and user.hash == known.hash]
    return Person(same[0].name, same[0].role, "password") if same else None
