"""The service for real: processes, sockets, releases that change under load."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from pydantic import SecretStr
from serving_shop import ROOT, Service, Shop, answers, eventually, make_shop, publish, serving, stored

from pipelines.probe import probe
from storecast.client import Client, ServiceError
from storecast.settings import Settings

GROCERY = {"store_nbr": "1", "family": "GROCERY"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def service(shop: Shop) -> Iterator[Service]:
    with serving(shop.home) as running:
        eventually(lambda: answers(running, "/readyz"), 60, "ready")
        yield running


@pytest.fixture
def client(service: Service, shop: Shop) -> Iterator[httpx.Client]:
    """A client with all scopes, and the first release being served by every worker."""
    shop.store.activate(shop.first.id, "for the next test")
    if not service.serves(shop.first.id, shop.key):
        eventually(lambda: service.serves(shop.first.id, shop.key), 15, "the first release")
    with service.client(shop.key) as made:
        yield made


def test_no_worker_takes_a_request_before_it_has_the_release(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    with serving(
        shop.home, {"STORECAST_SERVING_WHAT_IF": "false", "STORECAST_SERVING_WORKERS": "3"}
    ) as service:
        assert service.serves(shop.first.id, shop.key, times=40)


def test_a_series_is_answered_with_the_stored_forecast(client: httpx.Client, shop: Shop) -> None:
    answer = client.get("/v1/forecasts", params=GROCERY)
    assert answer.status_code == 200
    content = answer.json()
    assert content["release"] == shop.first.id
    assert content["series"][0]["yhat"] == stored(shop.first)["1|GROCERY"]
    assert content["unknown"] == []


def test_arrow_and_json_tell_the_same_and_name_what_is_unknown(client: httpx.Client) -> None:
    keys = [GROCERY, {"store_nbr": "9", "family": "HATS"}]
    body = {"keys": keys, "from": "2023-08-03", "to": "2023-08-04", "quantiles": [0.9]}
    told = client.post("/v1/forecasts", json=body).json()
    accept = {"accept": "application/vnd.apache.arrow.stream"}
    table = pa.ipc.open_stream(
        io.BytesIO(client.post("/v1/forecasts", json=body, headers=accept).content)
    ).read_all()
    assert told["unknown"] == [keys[1]] == json.loads(table.schema.metadata[b"unknown"])
    assert table.column("yhat").to_numpy().round(4).tolist() == told["series"][0]["yhat"]
    assert [str(day) for day in table.column("ds").to_pylist()] == told["series"][0]["ds"]
    assert table.column_names == ["unique_id", "store_nbr", "family", "ds", "yhat", "q0.9"]


def test_more_promotion_sells_more_and_the_baseline_is_the_release(service: Service, shop: Shop) -> None:
    with Client(service.url, shop.key, attempts=12) as client:  # the model takes a moment to load
        answer = client.what_if([(GROCERY, {"onpromotion": 11}), ({**GROCERY, "store_nbr": "77"}, {})])
        none = client.what_if([(GROCERY, {"onpromotion": {"2023-08-05": 0}})])
    first = answer.series[0]
    assert first.baseline["yhat"] == stored(shop.first)["1|GROCERY"]
    assert sum(first.what_if["yhat"]) > sum(first.baseline["yhat"])
    assert answer.unknown == [{**GROCERY, "store_nbr": "77"}]
    assert len(none.series[0].difference) == 16


def test_a_new_release_replaces_the_old_under_load_without_a_failed_or_mixed_answer(
    service: Service, shop: Shop, client: httpx.Client
) -> None:
    expected = {release.id: stored(release) for release in (shop.first, shop.second)}
    wrong: list[str] = []
    counts = dict.fromkeys(expected, 0)
    stop, path = threading.Event(), "/v1/forecasts"
    body = {"keys": [{"store_nbr": s, "family": f} for s in "123" for f in ("GROCERY", "PRODUCE")]}

    def load(post: bool) -> None:
        with service.client(shop.key) as mine:
            while not stop.is_set():
                got = mine.post(path, json=body) if post else mine.get(path, params=GROCERY)
                content = got.json()
                points = expected.get(content.get("release", ""), {})
                told = {item["unique_id"]: item["yhat"] for item in content.get("series", [])}
                if got.status_code != 200 or not told or any(points[k] != v for k, v in told.items()):
                    wrong.append(got.text[:500])
                else:
                    counts[content["release"]] += 1

    threads = [threading.Thread(target=load, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for release in (shop.second, shop.first) * 2:
        shop.store.activate(release.id, "swap")
        eventually(lambda r=release: service.serves(r.id, shop.key), 10, "the swap")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(counts.values()) > 20


def test_a_release_whose_model_forecasts_something_else_is_refused_and_the_last_good_one_goes_on(
    service: Service, shop: Shop, client: httpx.Client
) -> None:
    with Client(service.url, shop.key, attempts=12) as asking:
        asking.what_if([(GROCERY, {})])  # so the model's process is up to judge
    wrong = publish(shop.home, 3, lambda f: f.assign(**{c: 2 * f[c] for c in f if c[0] in "yq"}))
    shop.store.activate(wrong.id, "not noticed yet")
    refused = eventually(lambda: client.get("/v1/releases/current").json()["refused"], 15, "the refusal")
    assert "model" in refused[wrong.id]
    assert service.serves(shop.first.id, shop.key)
    assert f"release {wrong.id} is refused" in service.log.read_text()
    counted = re.compile(r"storecast_serving_refusals_total [1-9]")
    eventually(lambda: counted.search(client.get("/metrics").text), 5, "the metric")


def test_a_service_that_starts_on_a_release_whose_model_is_refused_serves_the_one_before(
    tmp_path: Path,
) -> None:
    shop = make_shop(tmp_path)
    wrong = publish(shop.home, 3, lambda f: f.assign(**{c: 2 * f[c] for c in f if c[0] in "yq"}))
    shop.store.activate(wrong.id, "not noticed yet")
    with (
        serving(shop.home, {"STORECAST_SERVING_WORKERS": "1"}) as service,
        service.client(shop.key) as client,
    ):
        path = "/v1/forecasts"
        first = lambda: (got := client.get(path, params=GROCERY)).status_code == 200 and got  # noqa: E731
        assert eventually(first, 60, "an answer").json()["release"] == shop.first.id
        assert "model" in client.get("/v1/releases/current").json()["refused"][wrong.id]


def test_keys_are_rotated_without_a_restart(service: Service, shop: Shop, client: httpx.Client) -> None:
    old = shop.make_key("planner", "read")
    with service.client(old) as planner:
        eventually(lambda: planner.get("/v1/series").status_code == 200, 5, "the key")
        assert planner.post("/v1/releases/rollback").status_code == 403
        new = shop.make_key("planner", "read")
        eventually(lambda: planner.get("/v1/series").status_code == 401, 5, "the end of the old key")
    with service.client(new) as planner:
        eventually(lambda: planner.get("/v1/series").status_code == 200, 5, "the new key")


def test_an_admin_rolls_back_and_activates(client: httpx.Client, service: Service, shop: Shop) -> None:
    got = client.post(f"/v1/releases/{shop.second.id}/activate")
    assert (got.status_code, got.json()["current"]) == (202, shop.second.id)
    eventually(lambda: service.serves(shop.second.id, shop.key), 10, "the activated release")
    assert client.post("/v1/releases/rollback").json()["current"] == shop.first.id
    eventually(lambda: service.serves(shop.first.id, shop.key), 10, "the one before")
    assert client.post("/v1/releases/2001-01-01-none/activate").status_code == 404


def test_an_admin_hands_in_what_was_sold(client: httpx.Client, service: Service, shop: Shop) -> None:
    body = {"rows": [{"date": "2023-08-01", **GROCERY, "sales": 12, "onpromotion": 0}]}
    got = client.post("/v1/actuals", json=body)
    assert (got.status_code, got.json()["rows"]) == (202, 1)
    kept = shop.home / "inbox" / "shop" / got.json()["file"]
    assert json.loads(kept.read_text()) == body["rows"]
    with service.client(shop.make_key("reader", "read")) as reader:
        eventually(lambda: reader.post("/v1/actuals", json=body).status_code == 403, 5, "the refusal")


def test_the_loop_asks_whether_a_release_is_served_and_nothing_of_another_data_set(
    client: httpx.Client, service: Service, shop: Shop
) -> None:
    del client
    settings = Settings(serving_url=service.url, serving_key=SecretStr(shop.key))
    assert probe(settings, "shop", shop.first.id, seconds=5).status == "serves"
    assert probe(settings, "shop", shop.second.id, seconds=0).status == "another"
    assert probe(settings, "shop-001", shop.second.id, seconds=5).status == "unknown"


def test_metrics_count_requests_and_the_log_names_key_route_and_release(
    client: httpx.Client, service: Service, shop: Shop
) -> None:
    client.get("/v1/forecasts", params=GROCERY)
    text = client.get("/metrics").text
    assert 'storecast_serving_requests_total{route="/v1/forecasts",status="200"}' in text

    def logged() -> bool:
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
        wanted = {"key": "tests", "method": "GET", "route": "/v1/forecasts", "status": 200}
        return any({**line, **wanted} == line and line["release"] == shop.first.id for line in lines)

    eventually(logged, 5, "the line in the log")
    assert shop.key not in service.log.read_text()


def test_without_its_store_it_goes_on_and_starts_again_from_the_local_copy(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    settings = {"STORECAST_SERVING_WHAT_IF": "false", "STORECAST_SERVING_WORKERS": "1"}
    with serving(shop.home, settings) as service:
        eventually(lambda: answers(service, "/readyz"), 20, "ready")
        (shop.home / "releases").rename(shop.home / "gone")
        with service.client(shop.key) as client:
            state = lambda: client.get("/v1/releases").json()["store"]["state"]  # noqa: E731
            eventually(lambda: state() == "unreachable", 10, "the report")
            assert client.get("/v1/forecasts", params=GROCERY).status_code == 200
    with serving(shop.home, settings) as service:
        eventually(lambda: answers(service, "/readyz"), 20, "ready without a store")
        with service.client(shop.key) as client:
            assert client.get("/v1/forecasts", params=GROCERY).json()["release"] == shop.first.id
        (shop.home / "serving" / "draining").touch()
        eventually(lambda: not answers(service, "/readyz"), 5, "readiness to end before the process")
        with service.client(shop.key) as client:
            told = lambda: client.get("/v1/series").headers.get("connection") == "close"  # noqa: E731
            eventually(told, 5, "a word to those who keep connections")
        assert answers(service, "/livez")
        os.kill(service.process.pid, 0)
    shutil.rmtree(shop.home)


def test_a_client_without_a_key_is_told_how_to_get_one(service: Service) -> None:
    with Client(service.url) as client, pytest.raises(ServiceError, match="storecast keys create") as caught:
        client.current()
    assert caught.value.status == 401


def test_schemathesis_finds_nothing_in_what_the_openapi_document_promises(
    service: Service, shop: Shop, client: httpx.Client
) -> None:
    key = shop.make_key("fuzz", "read", "what-if")
    with service.client(key) as mine:
        eventually(lambda: mine.get("/openapi.json").status_code == 200, 5, "the key")
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{service.url}/openapi.json", "-H", f"Authorization: Bearer {key}"]
    command += ["--max-examples", "30", "--generation-database", "none", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=shop.home)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Tested: 9" in done.stdout


def test_the_commands_of_the_documentation_work_as_written(
    service: Service, shop: Shop, client: httpx.Client, tmp_path: Path
) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)
    assert len(blocks) >= 7
    setting = blocks.pop(0)
    assert setting.startswith("DAY=")
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    said = {**os.environ, "URL": service.url, "KEY": shop.key, "CURL_HOME": str(tmp_path)}
    for block in blocks:
        assert not re.search(r"\d-\d", block), "a date is of one release alone"
        command = ["bash", "-euo", "pipefail", "-c", setting + block]
        done = subprocess.run(
            command, env=said, cwd=tmp_path, capture_output=True, timeout=60, check=False, text=True
        )
        assert done.returncode == 0, block + done.stdout + done.stderr
    assert pa.ipc.open_stream(tmp_path / "forecasts.arrows").read_all().num_rows == 16
