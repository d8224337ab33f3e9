"""API keys: made once, kept as hashes, listed, revoked; and how the service is started."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from serving import keys, start
from storecast.errors import ConfigError
from storecast.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_key_is_shown_once_and_kept_as_a_hash(home: Path) -> None:
    token = call("create", "--id", "planner", "--scope", "read", "--scope", "what-if").strip()
    assert re.fullmatch(r"sc_planner_[0-9a-f]{64}", token)
    path = home / "serving" / "keys.json"
    assert token not in path.read_text()
    assert token.removeprefix("sc_planner_") not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = keys.KeyRing(path).find(token.encode())
    assert found is not None
    assert (found.id, found.scopes) == ("planner", ("read", "what-if"))
    assert token not in call("list")


def test_a_new_key_replaces_the_one_of_its_id_and_a_revoked_one_is_gone(home: Path) -> None:
    old = call("create", "--id", "planner").strip()
    other = call("create", "--id", "other", "--days", "0").strip()
    new = call("create", "--id", "planner").strip()
    ring = keys.KeyRing(home / "serving" / "keys.json")
    assert [ring.find(t.encode()) is not None for t in (old, new, other)] == [False, True, True]
    call("revoke", "other")
    ring.refresh()
    assert ring.find(other.encode()) is None
    assert "other" not in call("list")


def test_the_platforms_keys_are_in_a_file_of_their_own_and_win_over_peoples(home: Path) -> None:
    settings = Settings(serving_platform_keys=home / "platform.json")
    people, platform = files = keys.key_files(settings)
    own = keys.create(platform, "admin", ["admin"], None)
    ring = keys.KeyRing(*files)
    planner, other_admin = (keys.create(people, name, ["read"], None) for name in ("planner", "admin"))
    ring.refresh()
    assert [ring.find(t.encode()) is not None for t in (own, planner, other_admin)] == [True, True, False]
    people.write_text("{")
    newer = keys.create(platform, "admin", ["admin"], None)
    ring.refresh()
    assert str(people) in ring.trouble
    assert [ring.find(t.encode()) is not None for t in (own, planner, newer)] == [False, True, True]
    people.unlink()
    ring.refresh()
    assert ring.trouble == ""
    assert ring.find(planner.encode()) is None


def test_a_new_key_is_taken_at_once_and_wrong_ones_do_not_have_the_file_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looks = tmp_path / "keys.json", []
    ring = keys.KeyRing(path)
    first = keys.create(path, "first", ["read"], None)
    assert ring.find(first.encode()), "the service looked before it was made"
    monkeypatch.setattr(ring, "refresh", lambda: looks.append(1))
    monkeypatch.setattr(keys, "LOOK_SECONDS", 3600.0)
    for token in (b"sc_first_guess", b"sc_other_guess", b"nonsense"):
        assert ring.find(token) is None
    assert looks == []
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    assert ring.find(first.encode())
    assert looks == [], "a key that is known costs no look"


@pytest.mark.parametrize(
    ("key_id", "scopes", "found"),
    [("a b", ["read"], "a b"), ("a_b", ["read"], "a_b"), ("a", ["write"], "write"), ("a", [], "none")],
)
def test_odd_ids_and_scopes_are_refused(tmp_path: Path, key_id: str, scopes: list[str], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        keys.create(tmp_path / "keys.json", key_id, scopes, None)
    with pytest.raises(ConfigError, match="storecast keys list"):
        keys.revoke(tmp_path / "keys.json", "nobody")


def test_tls_needs_both_files(tmp_path: Path) -> None:
    pair = {"serving_certificate": tmp_path / "tls.crt", "serving_certificate_key": tmp_path / "tls.key"}
    command = start.command(Settings(**pair), "127.0.0.1", 3000)
    assert command[-4:] == [
        "--ssl-certfile",
        str(tmp_path / "tls.crt"),
        "--ssl-keyfile",
        str(tmp_path / "tls.key"),
    ]
    with pytest.raises(ConfigError, match="both or none"):
        start.command(Settings(serving_certificate=tmp_path / "tls.crt"), "127.0.0.1", 3000)
