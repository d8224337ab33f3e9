"""Notifications: sent to a real receiver, and never in the way."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipelines import loop_records
from pipelines.loop_records import Records
from pipelines.notify import notify, tell
from storecast.errors import StoreError
from storecast.loop.decisions import Decision, DecisionLog
from storecast.monitor.health import Check, Health
from storecast.settings import Settings

CHECK = Check("error", "family=DAIRY", 1.4, 1.1, True, 28, "RMSLE is 1.40 times the naive's.")
DECISION = Decision.of(
    Health("shop", "r1", "2024-01-01", (CHECK,)),
    "rollback",
    "rollback",
    "On 7 days since, RMSLE 0.50 of r2 against 0.40.",
    datetime(2024, 1, 2, tzinfo=UTC),
)


class Receiver(HTTPServer):
    """A webhook: keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"json://user:hush@127.0.0.1:{self.server_address[1]}/hook")


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.got.append(json.loads(self.rfile.read(size)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_decision_reaches_a_webhook_with_what_was_seen(receiver: Receiver) -> None:
    assert tell(Settings(notify_urls=(receiver.url,)), DECISION, "rollback")
    (message,) = receiver.got
    assert message["title"] == "shop: Rolled back"
    assert "RMSLE 0.50 of r2 against 0.40" in message["message"]
    assert "error (family=DAIRY)" in message["message"]
    assert DECISION.id in message["message"]
    assert message["type"] == "warning"


def test_what_people_need_not_know_is_not_sent(receiver: Receiver) -> None:
    assert tell(Settings(notify_urls=(receiver.url,)), DECISION, "nothing")
    assert receiver.got == []


def test_people_are_told_of_a_pass_that_fails_because_of_its_store(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_records, "emit_event", lambda *_, **__: None)
    (tmp_path / "loop").write_text("where a folder should be")
    records = Records(DecisionLog(str(tmp_path), "shop"), Settings(notify_urls=(receiver.url,)))
    records.failed("shop", StoreError("the object store does not answer"))
    (message,) = receiver.got
    assert message["title"] == "shop: A step failed"
    assert "the object store does not answer" in message["message"]


def test_a_breach_that_goes_on_is_told_once_though_no_newer_data_come(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_records, "emit_event", lambda *_, **__: None)
    log = DecisionLog(str(tmp_path), "shop")
    records = Records(log, Settings(notify_urls=(receiver.url,)))

    def passed(day: int, *checks: Check) -> None:
        now = datetime(2024, 1, day, tzinfo=UTC)
        health = Health("shop", "r1", "2024-01-01", checks)
        assert records.add(Decision.of(health, "nothing", "breach", f"seen on {day}", now))

    late = Check("freshness", "all", 3.0, 2.0, True, 1, "The last actuals are 3 days old.")
    passed(4, late)
    passed(5, replace(late, value=4.0))
    passed(6, replace(late, value=5.0))
    assert len(receiver.got) == 1
    passed(7, replace(late, value=6.0), CHECK)
    assert len(receiver.got) == 2, "another check is breached, too"


def test_one_address_that_fails_does_not_keep_it_from_the_others(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    dead = SecretStr("json://user:hush@127.0.0.1:1/hook")
    wrong = SecretStr("no-such-service://hush")
    with caplog.at_level(logging.WARNING):
        assert not notify(Settings(notify_urls=(wrong, dead, receiver.url)), "title", "text")
    assert len(receiver.got) == 1
    assert "entries [1]" in caplog.text
    assert "hush" not in caplog.text, "addresses hold passwords"


def test_a_receiver_that_answers_with_an_error_is_no_error_of_ours(receiver: Receiver) -> None:
    receiver.status = 500
    assert not notify(Settings(notify_urls=(receiver.url,)), "title", "text")


def test_without_an_address_nothing_is_sent_and_all_is_well() -> None:
    assert notify(Settings(), "title", "text")


def test_addresses_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_NOTIFY_URLS", '["json://user:hush@host/hook"]')
    from storecast.settings import explain_settings

    assert "hush" not in repr(explain_settings())
