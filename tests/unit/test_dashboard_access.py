"""Who may use the dashboard, what is logged of it, and when it refuses to start."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st

from dashboard import access, audit, start, users
from dashboard.access import NotAllowedError, Person
from dashboard.users import Role
from storecast.errors import ConfigError, StoreError
from storecast.settings import Settings

OPERATOR, VIEWER = Person("otto", Role.OPERATOR, "password"), Person("vera", Role.VIEWER, "password")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    st.cache_resource.clear()  # the wrong passwords of other tests
    return tmp_path


def test_a_password_is_right_or_wrong_and_stands_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    users.add(file, "vera", "correct horse", Role.VIEWER)
    users.add(file, "otto", "battery staple", Role.OPERATOR)
    found = users.check(file, "vera", "correct horse")
    assert found is not None
    assert (found.name, found.role) == ("vera", Role.VIEWER)
    assert users.check(file, "vera", "battery staple") is None
    assert users.check(file, "nobody", "correct horse") is None
    assert "correct horse" not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_the_same_password_twice_has_two_hashes_and_a_new_one_replaces_the_old(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    for name in ("vera", "otto"):
        users.add(file, name, "correct horse", Role.VIEWER)
    assert len({user.hash for user in users.read(file)}) == 2
    users.add(file, "vera", "battery staple", Role.OPERATOR)
    assert users.check(file, "vera", "correct horse") is None
    assert [user.role for user in users.read(file) if user.name == "vera"] == [Role.OPERATOR]
    users.remove(file, "vera")
    assert [user.name for user in users.read(file)] == ["otto"]


GUESSES = """
import resource, sys, threading
from pathlib import Path
from dashboard import users

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
guess = lambda number: users.check(Path(sys.argv[1]), f"name {number}", "a wrong one")
threads = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_many_who_log_in_at_once_take_the_memory_of_two(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    users.add(file, "vera", "correct horse", Role.VIEWER)
    done = subprocess.run(
        [sys.executable, "-c", GUESSES, str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 150, "MiB; each takes 32"


def test_wrong_passwords_of_a_name_are_counted_when_they_come_at_once(home: Path) -> None:
    users.add(users.users_path(Settings(home=home)), "vera", "correct horse", Role.VIEWER)

    def guess(_: int) -> bool:
        try:
            return access.log_in("vera", "a wrong one")
        except NotAllowedError:
            return True

    with ThreadPoolExecutor(12) as threads:
        refused = list(threads.map(guess, range(12)))
    assert refused.count(False) == access.FREE_TRIES


def test_of_names_without_end_the_latest_are_remembered(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users.add(users.users_path(Settings(home=home)), "vera", "correct horse", Role.VIEWER)
    monkeypatch.setattr(access, "MOST_NAMES", 2)
    for _ in range(access.FREE_TRIES):
        assert not access.log_in("otto", "a wrong one")
    assert not access.log_in("one more", "a wrong one")
    with pytest.raises(NotAllowedError):
        access.log_in("otto", "a wrong one")
    for name in ("two more", "three more"):
        assert not access.log_in(name, "a wrong one")
    assert not access.log_in("otto", "a wrong one")


@pytest.mark.parametrize("content", ["", "[]", '{"users": [{"name": "x"}]}', '{"users": [{"role": "king"}]}'])
def test_a_broken_password_file_lets_nobody_in_and_says_what_it_is(content: str, tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"users.*(?s:.*)add-user"):
        users.check(file, "vera", "correct horse")


def test_a_short_password_and_an_unknown_user_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="8 characters"):
        users.add(tmp_path / "users.json", "vera", "short", Role.VIEWER)
    with pytest.raises(ConfigError, match="no such user"):
        users.remove(tmp_path / "users.json", "vera")


def test_what_is_open_to_a_network_must_ask_who_somebody_is(home: Path) -> None:
    settings = Settings(home=home)
    for host in ("127.0.0.1", "::1", "localhost"):
        assert start.command(settings, host, 8501)
    for host in ("0.0.0.0", "192.168.1.7", "::"):  # noqa: S104
        with pytest.raises(ConfigError, match="everybody on the network"):
            start.command(settings, host, 8501)
    users.add(users.users_path(settings), "otto", "battery staple", Role.OPERATOR)
    assert "0.0.0.0" in start.command(settings, "0.0.0.0", 8501)  # noqa: S104


def test_an_action_is_logged_before_it_is_done_and_when_it_has_ended(home: Path) -> None:
    def look() -> str:
        assert [entry.state for entry in audit.latest()] == ["asked"]
        return "done it"

    assert audit.perform(OPERATOR, "promote", {"release": "r1"}, look) == "done it"
    (entry,) = audit.latest()
    assert (entry.who, entry.action, dict(entry.about), entry.state) == (
        "otto",
        "promote",
        {"release": "r1"},
        "done",
    )
    assert len(list((home / "audit").rglob("*.json"))) == 2


def test_a_failed_action_is_logged_as_failed(home: Path) -> None:
    def fail() -> None:
        raise StoreError("the store is away")

    with pytest.raises(StoreError):
        audit.perform(OPERATOR, "roll back", {}, fail)
    (entry,) = audit.latest()
    assert (entry.state, entry.found) == ("failed", "the store is away")


def test_a_viewer_does_nothing(home: Path) -> None:
    done: list[int] = []
    with pytest.raises(NotAllowedError, match="vera may look"):
        audit.perform(VIEWER, "promote", {}, lambda: done.append(1))
    assert not done
    assert audit.latest() == []


def test_what_cannot_be_logged_is_not_done(home: Path) -> None:
    (home / "audit").write_text("in the way")
    done: list[int] = []
    with pytest.raises(OSError, match="audit"):
        audit.perform(OPERATOR, "promote", {}, lambda: done.append(1))
    assert not done


def test_the_log_keeps_its_order_over_days(home: Path) -> None:
    for day, action in (("2026-01-31", "first"), ("2026-02-01", "second")):
        about = {"at": f"{day}T10:00:00.000000+00:00", "action_id": action, "who": "otto", "how": "password"}
        folder = home / "audit" / day
        folder.mkdir(parents=True)
        content = {**about, "action": action, "about": {}, "state": "done", "found": ""}
        (folder / f"100000-{action}-done.json").write_text(json.dumps(content))
    assert [entry.action for entry in audit.latest()] == ["second", "first"]
    assert [entry.action for entry in audit.latest(1)] == ["second"]
