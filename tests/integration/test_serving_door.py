"""The door by itself, in this process: keys, limits, load, bodies and headers of all kinds."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_shop import Shop, eventually, make_shop, process_meters, stored

from serving import asking, keys, openapi
from serving.access_log import AccessLog
from serving.answers import Answer
from serving.door import Door
from serving.prepare import prepare
from serving.state import State
from serving.table import ReleaseTable
from serving.upkeep import Lag
from serving.watcher import Watcher
from storecast.dataset_config import ASKED
from storecast.settings import Settings

GROCERY = {"store_nbr": "1", "family": "GROCERY"}
ALLOWED = {200, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422}


class Echo:
    """A champion that tells what it was asked."""

    async def ask(self, question: Mapping[str, Any]) -> Answer:
        return Answer(200, json.dumps(question).encode())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def table(shop: Shop) -> ReleaseTable:
    return ReleaseTable.open(prepare(str(shop.home), "shop", shop.first.id, shop.home / "local"))


Make = Callable[..., Door]


@pytest.fixture
def make(shop: Shop, table: ReleaseTable) -> Iterator[Make]:
    """Doors over the first release, by settings."""
    nowhere = os.open(os.devnull, os.O_WRONLY)

    def door(**said: Any) -> Door:
        made = Settings(home=shop.home, **said)
        watcher = Watcher(made, ReleaseTable.open)
        watcher.value, watcher.release = table, table.id
        return Door(no_app, State(made, watcher, Echo()), process_meters(), AccessLog(nowhere))

    yield door
    os.close(nowhere)


async def no_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("BentoML is not asked")


@asynccontextmanager
async def client_of(door: Door, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app=door, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
        yield client


def ask(door: Door, key: str, method: str, path: str, **options: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        async with client_of(door, key) as client:
            return await client.request(method, path, **options)

    return asyncio.run(one())


def test_what_has_not_changed_is_not_sent_again(make: Make, shop: Shop) -> None:
    door = make()
    first = ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY)
    again = {"if-none-match": first.headers["etag"]}
    for path, query in (("/v1/forecasts", GROCERY), ("/v1/series", {})):
        got = ask(door, shop.key, "GET", path, params=query, headers=again)
        assert (got.status_code, got.content) == (304, b"")
    other = {"if-none-match": 'W/"another"'}
    assert ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY, headers=other).status_code == 200


def test_answers_are_compressed_for_those_who_read_it(make: Make, shop: Shop) -> None:
    door = make()
    for accept in ("gzip", "identity", "gzip"):
        got = ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY, headers={"accept-encoding": accept})
        assert got.headers.get("content-encoding", "identity") == accept
        assert got.json()["series"][0]["yhat"] == stored(shop.first)["1|GROCERY"]


@pytest.mark.parametrize(
    ("query", "field", "cure"),
    [
        ({**GROCERY, "famly": "x"}, "query", "did you mean family?"),
        ({"store_nbr": "1"}, "family", "GET /v1/series"),
        ({**GROCERY, "from": "yesterday"}, "from", ""),
        ({**GROCERY, "from": "2023-02-30"}, "from", ""),
        ({**GROCERY, "quantiles": "0.3"}, "quantiles", ""),
        ({**GROCERY, "store_nbr": ["1", "2"]}, "store_nbr", "give it once"),
    ],
)
def test_an_error_names_the_field_and_the_cure_and_repeats_nothing(
    make: Make, shop: Shop, query: dict[str, Any], field: str, cure: str
) -> None:
    got = ask(make(), shop.key, "GET", "/v1/forecasts", params=query)
    said = got.json()
    assert got.headers["content-type"] == "application/problem+json"
    assert (got.status_code, said["status"], said["field"]) == (422, 422, field)
    assert cure in said.get("cure", "")
    assert "yesterday" not in got.text
    assert "famly" not in got.text


def test_dates_without_a_forecast_are_answered_with_those_that_have_one(make: Make, shop: Shop) -> None:
    got = ask(make(), shop.key, "GET", "/v1/forecasts", params={**GROCERY, "from": "2030-01-01"})
    assert got.status_code == 404
    assert "2023-08-01 to 2023-08-16" in got.json()["expected"]


def test_every_answer_carries_the_security_headers(make: Make, shop: Shop) -> None:
    door = make()
    for path in ("/v1/series", "/nowhere", "/livez"):
        headers = ask(door, shop.key, "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_a_key_of_another_scope_a_wrong_one_and_an_expired_one_are_turned_away(
    make: Make, shop: Shop
) -> None:
    path = keys.keys_path(shop.settings)
    late = keys.create(path, "late", ["read"], datetime.now(UTC) - timedelta(seconds=1))
    reader = shop.make_key("reader", "read")
    door = make()
    body = {"series": [{"key": GROCERY}]}
    assert ask(door, reader, "POST", "/v1/what-if", json=body).status_code == 403
    assert ask(door, reader, "GET", "/v1/series").status_code == 200
    for token in (late, reader[:-1] + "x", "sc_reader_", "sc__", "", "nonsense"):
        got = ask(door, token, "GET", "/v1/series")
        assert got.status_code == 401, token
        assert got.headers["www-authenticate"] == "Bearer"


def test_an_open_service_lets_everybody_read_but_nobody_administer(make: Make) -> None:
    door = make(serving_open=True)
    assert ask(door, "", "GET", "/v1/series").status_code == 200
    assert ask(door, "", "POST", "/v1/releases/rollback").status_code == 403


def test_a_used_up_limit_says_when_to_come_back(make: Make, shop: Shop) -> None:
    for said in ({"serving_rate_per_key": "3/hour"}, {"serving_rate_per_address": "3/hour"}):
        door = make(**said)
        statuses = [ask(door, shop.key, "GET", "/v1/series").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        got = ask(door, shop.key, "GET", "/v1/series")
        assert 1 <= int(got.headers["retry-after"]) <= 3601


def test_when_redis_is_away_requests_go_on(make: Make, shop: Shop) -> None:
    door = make(serving_rate_store="redis://127.0.0.1:1/0", serving_rate_per_key="3/hour")
    assert ask(door, shop.key, "GET", "/v1/series").status_code == 200
    assert door.by_key.failures == 1


def test_a_body_that_is_too_large_encoded_or_of_another_type_is_not_read(make: Make, shop: Shop) -> None:
    door = make(serving_body_bytes=2_000, serving_max_keys=3)
    good = json.dumps({"keys": [GROCERY]}).encode()
    typed = {"content-type": "application/json"}

    def status(content: Any, **headers: str) -> int:
        return ask(
            door, shop.key, "POST", "/v1/forecasts", content=content, headers=typed | headers
        ).status_code

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    assert status(good) == 200
    assert status(b" " * 3_000) == 413
    assert status(slowly()) == 413
    assert status(gzip.compress(good), **{"content-encoding": "gzip"}) == 415
    assert status(good, **{"content-type": "application/vnd.bentoml+pickle"}) == 415
    assert status(json.dumps({"keys": [GROCERY] * 4}).encode()) == 422
    assert status(b'{"keys": [') == 400


def test_beyond_capacity_requests_are_turned_away_at_once(make: Make, shop: Shop) -> None:
    door = make()
    door.upkeep.late = True
    got = ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY)
    assert (got.status_code, got.headers["retry-after"]) == (503, "1")
    assert ask(door, shop.key, "GET", "/livez").status_code == 200


def test_a_worker_has_so_many_requests_under_way_and_no_more(make: Make, shop: Shop) -> None:
    door = make()

    async def crowd() -> list[int]:
        sent = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            await sent.wait()
            yield json.dumps({"keys": [GROCERY]}).encode()

        typed = {"content-type": "application/json"}
        async with client_of(door, shop.key) as client:
            calls = [
                asyncio.ensure_future(client.post("/v1/forecasts", content=slow(), headers=typed))
                for _ in range(70)
            ]
            while door.places.taken < 64:
                await asyncio.sleep(0)
            sent.set()
            return [got.status_code for got in await asyncio.gather(*calls)]

    statuses = asyncio.run(crowd())
    assert (statuses.count(200), statuses.count(503)) == (64, 6)


def test_what_ifs_that_wait_for_the_model_leave_the_other_requests_their_places(
    make: Make, shop: Shop
) -> None:
    door = make()

    async def crowd() -> tuple[int, list[int]]:
        held = asyncio.Event()

        async def slow(*_: Any) -> Answer:
            await held.wait()
            return Answer(200, b"{}")

        door.state.champion = type("Slow", (), {"ask": slow})()
        async with client_of(door, shop.key) as client:
            calls = [
                asyncio.ensure_future(client.post("/v1/what-if", json={"series": [{"key": GROCERY}]}))
                for _ in range(70)
            ]
            while door.what_ifs.taken < 16:
                await asyncio.sleep(0)
            other = await client.post("/v1/forecasts", json={"keys": [GROCERY]})
            held.set()
            return other.status_code, [got.status_code for got in await asyncio.gather(*calls)]

    other, statuses = asyncio.run(crowd())
    assert (other, statuses.count(200), statuses.count(503)) == (200, 16, 54)


def test_a_machine_that_stood_still_once_is_not_taken_for_one_that_has_too_much_to_do() -> None:
    lag = Lag()
    assert not any(lag.note(seconds) for seconds in (5.0, 0.0, 0.0, 5.0, 0.0))
    assert [lag.note(0.4) for _ in range(5)][-1], "it is late again and again"
    assert not [lag.note(0.0) for _ in range(5)][-1], "it has caught up"


def test_a_request_that_takes_too_long_ends_with_a_problem(make: Make, shop: Shop) -> None:
    door = make(serving_timeout=0.05)

    async def never(*_: Any) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    door.state.champion = type("Never", (), {"ask": never})()
    got = ask(door, shop.key, "POST", "/v1/what-if", json={"series": [{"key": GROCERY}]})
    assert (got.status_code, got.json()["type"]) == (503, "urn:storecast:problem:timeout")


def test_before_there_is_a_release_it_says_so(make: Make, shop: Shop) -> None:
    door = make()
    door.state.watcher.value = None
    assert ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY).status_code == 503
    assert ask(door, "", "GET", "/readyz").status_code == 503
    assert ask(door, "", "GET", "/livez").status_code == 200


@pytest.mark.parametrize("dataset", ["", "shop"])
def test_where_nothing_was_ever_released_it_is_ready_to_say_so(
    make: Make, shop: Shop, tmp_path: Path, dataset: str
) -> None:
    door = make()
    door.state.watcher = looked(Settings(home=tmp_path, serving_dataset=dataset))
    assert ask(door, "", "GET", "/readyz").status_code == 200
    assert ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY).status_code == 503


def test_a_data_set_without_a_release_beside_others_is_not_ready_since_its_name_may_be_wrong(
    make: Make, shop: Shop
) -> None:
    door = make()
    door.state.watcher = looked(Settings(home=shop.home, serving_dataset="shpo"))
    assert ask(door, "", "GET", "/readyz").status_code == 503


def looked(settings: Settings) -> Watcher[ReleaseTable]:
    """A watcher that has looked at the store once."""
    watcher = Watcher(settings, ReleaseTable.open)
    watcher.start()
    eventually(lambda: watcher.seen.trouble, 5, "a look at the store")
    watcher.stop()
    return watcher


def test_while_it_drains_it_sends_those_who_keep_a_connection_elsewhere(make: Make, shop: Shop) -> None:
    door = make()
    headers = lambda: ask(door, shop.key, "GET", "/v1/forecasts", params=GROCERY).headers  # noqa: E731
    assert "connection" not in headers()
    door.upkeep.leaving = True
    assert headers()["connection"] == "close"


def test_an_unexpected_error_shows_no_trace(make: Make, shop: Shop) -> None:
    door = make()

    async def broken(*_: Any) -> Answer:
        raise RuntimeError("secret of the house")

    door.state.champion = type("Broken", (), {"ask": broken})()
    got = ask(door, shop.key, "POST", "/v1/what-if", json={"series": [{"key": GROCERY}]})
    assert got.status_code == 500
    assert "secret" not in got.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/actuals", {"rows": [{"date": "2023-08-01", "sales": 1}]}),
        ("/v1/releases/any/activate", None),
        ("/v1/releases/rollback", None),
    ],
)
@pytest.mark.usefixtures("no_object_store")
def test_while_the_object_store_is_away_it_says_when_to_try_again(
    make: Make, shop: Shop, path: str, body: Any
) -> None:
    door = make(workspace="s3://bucket", serving_dataset="shop")
    got = ask(door, shop.key, "POST", path, json=body)
    assert (got.status_code, got.headers["retry-after"]) == (503, "5")
    assert got.json()["type"].endswith(":store")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["keys", "series", "key", "known", "events", "from", "ds", "store_nbr", "family"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["accept", "accept-encoding", "if-none-match", "content-type", "x-odd", "content-encoding"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    max_size=4,
)


@pytest.fixture(scope="module")
def any_door(shop: Shop, table: ReleaseTable, tmp_path_factory: Any) -> Door:
    watcher = Watcher(shop.settings, ReleaseTable.open)
    watcher.value, watcher.release = table, table.id
    log = os.open(tmp_path_factory.mktemp("log") / "access.log", os.O_WRONLY | os.O_CREAT)
    return Door(no_app, State(shop.settings, watcher, Echo()), process_meters(), AccessLog(log))


@settings(max_examples=300)
@given(
    content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
    headers=HEADERS,
    path=st.sampled_from(["/v1/forecasts", "/v1/what-if", "/v1/releases/rollbac", "/v1/releases/x/activate"]),
    query=st.text(max_size=30),
    method=st.sampled_from(["POST", "GET", "PUT", "TRACE"]),
)
def test_no_body_header_or_query_breaks_it(
    any_door: Door, shop: Shop, content: bytes, headers: dict[str, str], path: str, query: str, method: str
) -> None:
    typed = {"content-type": "application/json", **headers}
    got = ask(any_door, shop.key, method, path, content=content, headers=typed, params=query)
    assert got.status_code in ALLOWED, got.text
    if got.status_code >= 400:
        assert set(got.json()) >= {"type", "title", "status", "detail"}


@settings(max_examples=100)
@given(query=st.dictionaries(st.sampled_from(["store_nbr", "family", "from", "to", "quantiles"]), st.text()))
def test_every_query_is_answered_with_the_series_its_name_or_a_problem(
    any_door: Door, shop: Shop, query: dict[str, str]
) -> None:
    got = ask(any_door, shop.key, "GET", "/v1/forecasts", params=query)
    assert got.status_code in {200, 404, 422}
    if got.status_code == 200:
        content = got.json()
        assert content["unknown"] == [{k: query[k] for k in GROCERY}] or content["series"]


def test_the_document_speaks_of_the_release_at_hand(make: Make, shop: Shop, table: ReleaseTable) -> None:
    got = ask(make(), shop.key, "GET", "/openapi.json").json()
    assert got == json.loads(json.dumps(openapi.document(table, shop.settings)))
    names = [p["name"] for p in got["paths"]["/v1/forecasts"]["get"]["parameters"]]
    assert names == ["store_nbr", "family", "from", "to", "quantiles"]
    known = got["components"]["schemas"]["WhatIfOf"]["properties"]["series"]["items"]["properties"]["known"]
    assert list(known["properties"]) == ["onpromotion"]


def test_no_key_can_be_called_like_a_parameter_of_a_query() -> None:
    assert set(ASKED) == {*asking.PARAMETERS, "limit", "offset"}


def test_series_are_paged_and_filtered(make: Make, shop: Shop) -> None:
    door = make()
    first = ask(door, shop.key, "GET", "/v1/series", params={"store_nbr": "2", "limit": 2}).json()
    rest = ask(door, shop.key, "GET", "/v1/series", params={"store_nbr": "2", "offset": 2}).json()
    assert first["total"] == rest["total"] == 3
    assert [s["family"] for s in first["series"] + rest["series"]] == ["BEVERAGES", "GROCERY", "PRODUCE"]


def test_a_broken_file_of_keys_leaves_the_keys_as_they_were(make: Make, shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    token = keys.create(path, "one", ["read"], None)
    door = make(serving_keys=path)
    path.write_text("{")
    door.ring.refresh()
    assert "not a file of API keys" in door.ring.trouble
    assert ask(door, token, "GET", "/v1/series").status_code == 200


def test_where_the_log_cannot_be_written_answers_go_on_and_a_revoked_key_ends(make: Make, shop: Shop) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(writer)
    door = Door(no_app, make().state, process_meters(), log)
    revoked_while_it_lives(door, shop, lambda: True)
    assert log.lost > 0
    os.close(writer)


def test_a_part_of_the_housekeeping_that_fails_does_not_end_the_others(make: Make, shop: Shop) -> None:
    door, asked = make(), list[bool]()

    def draining() -> bool:
        asked.append(True)
        raise PermissionError("the folder may not be looked into")

    door.state.draining = draining
    revoked_while_it_lives(door, shop, lambda: bool(asked))


def revoked_while_it_lives(door: Door, shop: Shop, when: Callable[[], bool]) -> None:
    """Keep a worker up, revoke a key once `when` says so, and wait until the worker turns it away."""
    key = shop.make_key("leaver", "read")

    async def life() -> None:
        over = asyncio.Event()

        async def app(*_: Any) -> None:
            await over.wait()

        living = asyncio.create_task(door.upkeep.live(app, {}, app, app))
        async with client_of(door, key) as client, asyncio.timeout(20):
            while (await client.get("/v1/series")).status_code != 200 or not when():
                await asyncio.sleep(0.05)
            keys.revoke(keys.keys_path(shop.settings), "leaver")
            while (await client.get("/v1/series")).status_code != 401:
                await asyncio.sleep(0.05)
        over.set()
        await living

    asyncio.run(life())
