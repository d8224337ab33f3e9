"""The client: typed answers, errors that say what to do, and patience with a busy service."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest

from storecast.client import AsyncClient, Client, ServiceError

KEY = {"store_nbr": "1", "family": "GROCERY"}
FORECASTS = {
    "release": "r1",
    "keys": ["store_nbr", "family"],
    "series": [{"unique_id": "1|GROCERY", **KEY, "ds": ["2023-08-01"], "yhat": [2.5], "q0.9": [4.0]}],
    "unknown": [{"store_nbr": "9", "family": "HATS"}],
}
CURRENT = {"id": "r1", "dataset": "shop", "refused": {}}
PROBLEM = {"title": "a value is not valid", "field": "from", "expected": "a date", "cure": "write one"}


class Script:
    """A service that gives prepared answers in turn and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers, self.asked = list(answers), []  # type: list[tuple[int, Any]], list[Any]
        self.encoding, self.retry_after = "identity", "0"
        self.seconds = 0.0

    def next(self, headers: Any, body: bytes) -> tuple[int, Any]:
        self.asked.append((headers.get("authorization"), json.loads(body or b"null")))
        return self.answers.pop(0)


@pytest.fixture
def server() -> Iterator[tuple[Script, str]]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            status, content = script.next(self.headers, self.rfile.read(length))
            if not status:  # hangs up
                return
            threading.Event().wait(script.seconds)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.send_header("content-encoding", script.encoding)
            if status in {429, 503}:
                self.send_header("retry-after", script.retry_after)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815 (the name that http.server asks for)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        yield script, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_answers_are_typed_and_the_key_is_sent(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers = [(200, FORECASTS)]
    with Client(url, "secret") as client:
        answer = client.forecasts([KEY], start="2023-08-01", quantiles=[0.9])
    assert (answer.release, answer.unknown) == ("r1", [{"store_nbr": "9", "family": "HATS"}])
    assert (answer.series[0].key, answer.series[0].ds) == (KEY, ["2023-08-01"])
    assert answer.series[0].columns == {"yhat": [2.5], "q0.9": [4.0]}
    assert script.asked == [("Bearer secret", {"keys": [KEY], "from": "2023-08-01", "quantiles": [0.9]})]


def test_a_busy_service_is_asked_again_and_a_refusal_is_not(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers = [(503, {}), (503, {}), (200, FORECASTS), (422, PROBLEM)]
    with Client(url) as client:
        assert client.forecasts([KEY]).release == "r1"
        with pytest.raises(ServiceError, match=r"from(.|\n)*a date(.|\n)*write one") as caught:
            client.forecasts([KEY])
    assert caught.value.status == 422
    assert len(script.asked) == 4


def test_patience_ends(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers = [(503, PROBLEM)] * 3
    with Client(url, attempts=3) as client, pytest.raises(ServiceError) as caught:
        client.forecasts([KEY])
    assert (caught.value.status, len(script.asked)) == (503, 3)


def asked_of_both(url: str, timeout: float = 30.0) -> list[str]:
    """What both clients say of a request for the current release: its error, or its id."""

    async def later() -> Any:
        async with AsyncClient(url, timeout=timeout) as client:
            return await client.current()

    said = []
    with Client(url, timeout=timeout) as client:
        for ask in (client.current, lambda: asyncio.run(later())):
            try:
                said.append(str(ask()["id"]))
            except ServiceError as error:
                said.append(str(error))
    return said


def test_a_service_says_how_long_it_is_to_be_left_alone(
    server: tuple[Script, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, url = server
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("storecast.client.calls.time.sleep", slept.append)
    monkeypatch.setattr("storecast.client.calls.asyncio.sleep", sleep)
    script.retry_after = "45"
    script.answers = [(429, {}), (200, CURRENT)] * 2
    assert (asked_of_both(url), slept) == (["r1", "r1"], [45.0, 45.0])
    script.retry_after = "3600"
    script.answers = [(429, {"title": "too many requests"})] * 2
    for said in asked_of_both(url):
        assert "too many requests" in said
        assert "status 429, Retry-After 3600" in said
    assert len(slept) == 2, "nobody waits for an hour"
    assert script.answers == []


def test_a_slow_answer_is_not_asked_for_again(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers, script.seconds = [(200, CURRENT)] * 2, 0.3
    for said in asked_of_both(url, timeout=0.05):
        assert "no answer within 0.05 s" in said
        assert "raise the client's timeout" in said
    assert script.answers == [], "once each"


def test_a_connection_that_breaks_is_tried_again(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers = [(0, None), (200, CURRENT)] * 2
    assert asked_of_both(url) == ["r1", "r1"]


def test_a_service_that_is_not_there_is_named(server: tuple[Script, str]) -> None:
    with (
        Client("http://127.0.0.1:1", attempts=1) as client,
        pytest.raises(ServiceError, match="cannot be reached"),
    ):
        client.current()


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", "welcome", [1], {"id": "r1"}, {}])
def test_a_success_that_another_server_answers_is_an_error_of_the_service(
    content: Any, server: tuple[Script, str]
) -> None:
    script, url = server
    script.answers = [(200, content)] * 4
    with Client(url) as client:
        for ask in (client.current, lambda: client.forecasts([KEY]), lambda: client.what_if([(KEY, {})])):
            with pytest.raises(ServiceError, match=rf"{url}/v1/\S+: this is no answer(.|\n)*serving_url"):
                ask()

    async def asked() -> None:
        async with AsyncClient(url) as client:
            await client.current()

    with pytest.raises(ServiceError, match="no answer of the service"):
        asyncio.run(asked())


@pytest.mark.parametrize("content", ["bad gateway", [1], None, b"<html>"])
def test_a_gateway_that_refuses_in_its_own_words_is_an_error_of_the_service(
    content: Any, server: tuple[Script, str]
) -> None:
    script, url = server
    script.answers = [(502, content)]
    with Client(url, attempts=1) as client, pytest.raises(ServiceError, match="status 502") as caught:
        client.current()
    assert caught.value.status == 502


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "3", pd.NA])
def test_a_value_that_is_no_finite_number_is_not_sent(value: Any, server: tuple[Script, str]) -> None:
    script, url = server
    with Client(url) as client:
        for known in ({"onpromotion": value}, {"onpromotion": {"2023-08-01": value}}):
            with pytest.raises(ServiceError, match=r"onpromotion(.|\n)*a finite number"):
                client.what_if([(KEY, known)])
        with pytest.raises(ServiceError, match="quantiles"):
            client.forecasts([KEY], quantiles=[value])
    assert script.asked == []


def test_numbers_of_numpy_are_sent_as_numbers(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers = [(200, {"release": "r1", "series": [], "unknown": []})]
    with Client(url) as client:
        client.what_if([(KEY, {"onpromotion": np.int64(3), "price": {"2023-08-01": np.float32(0.5)}})])
    (item,) = script.asked[0][1]["series"]
    assert item["known"] == {"onpromotion": 3, "price": {"2023-08-01": 0.5}}


@pytest.mark.parametrize(("url", "key"), [("http://here:port", ""), ("http://127.0.0.1:1", "clé")])
def test_an_address_or_key_that_cannot_be_one_is_an_error_of_the_service(url: str, key: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ServiceError, match=r"address or key(.|\n)*serving_url"):
            kind(url, key)


def test_an_answer_that_is_damaged_on_the_way_is_an_error_of_the_service(server: tuple[Script, str]) -> None:
    script, url = server
    script.answers, script.encoding = [(200, b"no gzip")], "gzip"
    with Client(url, attempts=1) as client, pytest.raises(ServiceError, match="DecodingError"):
        client.current()


def test_the_async_client_does_the_same(server: tuple[Script, str]) -> None:
    script, url = server
    changed = {
        **{"unique_id": "1|GROCERY", **KEY, "ds": ["2023-08-01"]},
        **{"baseline": {"yhat": [2.0]}, "what_if": {"yhat": [3.0]}, "difference": [1.0]},
    }
    script.answers = [
        (503, {}),
        (200, FORECASTS),
        (200, {"release": "r1", "series": [changed], "unknown": []}),
    ]

    async def both() -> tuple[str, list[float], dict[str, str]]:
        async with AsyncClient(url, "secret") as client:
            told = await client.forecasts([KEY])
            other = await client.what_if([(KEY, {"onpromotion": 3})], [{"ds": "2023-08-01", "event": "Fair"}])
            return told.release, other.series[0].difference, other.series[0].key

    assert asyncio.run(both()) == ("r1", [1.0], KEY)
    assert script.asked[-1][1] == {
        "series": [{"key": KEY, "known": {"onpromotion": 3}}],
        "events": [{"ds": "2023-08-01", "event": "Fair"}],
    }
