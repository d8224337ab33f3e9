"""From a release and what arrives after it to a health record; and what the platform says of itself."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from typer.testing import CliRunner

from components import ingest, monitor
from components.stage import open_panel, open_store, releases_of
from components.systems import gather
from pipelines.actuals_cli import actuals as actuals_cli
from serving.actuals import keep
from serving.problems import Problem
from storecast.actuals import Actuals
from storecast.backtest import cv_rows, fold_cutoffs
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.models.base import FitContext
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.monitor.health import Health, read_health
from storecast.settings import Settings, load_settings
from storecast.store.datasets import Dataset
from storecast.synthetic import write_raw

DAYS = 7


@dataclass
class Shop:
    """A released forecast, and the sales of the week after it."""

    raw: Path
    week: pd.DataFrame
    actuals: Actuals

    def panel(self) -> Dataset:
        return ingest.run("synthetic", str(self.raw), actuals=self.actuals.uri)

    def monitor(self, as_of: str) -> tuple[Health, Path, Dataset]:
        made = monitor.run(self.panel().uri, as_of=as_of)
        folder = open_store().path(made)
        return read_health(folder), folder, made


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    raw = tmp_path / "raw"
    write_raw(raw, n_stores=3, n_families=6, n_days=150, horizon=16 + DAYS)
    train = pd.read_csv(raw / "train.csv")
    days = sorted(train["date"].unique())
    week = train[train["date"].isin(days[-DAYS:])]
    test = pd.concat([week.drop(columns="sales"), pd.read_csv(raw / "test.csv")])
    train[~train["date"].isin(days[-DAYS:])].to_csv(raw / "train.csv", index=False)
    test.to_csv(raw / "test.csv", index=False)
    config = load_dataset_config(config_file("synthetic", "datasets"))
    found = Shop(raw, week, Actuals(load_settings().root, config))
    _release(found.panel())
    return found


def _release(source: Dataset) -> None:
    """The seasonal naive's forecast, released with its backtest."""
    store = open_store()
    panel = open_panel(store, source.uri)
    model = SeasonalNaive(NaiveConfig())
    model.fit(panel, FitContext())
    rows = [
        cv_rows(panel, name, cutoff, model.forecast(panel.at(cutoff, panel.horizon)).to_frame())
        for cutoff in fold_cutoffs(panel, 2)
        for name in ("blend", "naive")
    ]
    releases = releases_of(store, source)
    with store.building("release") as folder:
        model.forecast(panel).to_frame().to_parquet(folder / "forecasts.parquet", index=False)
        pd.concat(rows).to_parquet(folder / "backtest.parquet", index=False)
        made = releases.publish(
            folder,
            {
                "cutoff": str(panel.cutoff.date()),
                "horizon": panel.horizon,
                "evaluation": "",
                "champion": "",
            },
        )
    releases.activate(made.id, "first")


def test_before_anything_arrives_there_is_nothing_to_score(shop: Shop) -> None:
    health, _, made = shop.monitor("2023-07-25")
    assert (health.dataset, health.as_of) == ("synthetic", "2023-07-25")
    assert health.counts["rows_with_actuals"] == 0
    assert health.healthy == made.counts["healthy"]
    assert health.release.startswith("2023-07-24")


def test_a_week_that_arrives_is_scored_against_naive_and_promise(shop: Shop, tmp_path: Path) -> None:
    shop.week.to_csv(tmp_path / "week.csv", index=False)
    result = CliRunner().invoke(
        actuals_cli, ["add", str(tmp_path / "week.csv"), "--dataset", "synthetic"], catch_exceptions=False
    )
    assert f"taken    week.csv as train.csv: {len(shop.week)} of {len(shop.week)} rows" in result.output
    health, folder, made = shop.monitor("2023-08-01")
    assert health.counts["rows_with_actuals"] == 18 * DAYS
    errors = pd.read_parquet(folder / "errors.parquet")
    week = errors[(errors["ds"] == "2023-07-31") & (errors["segment"] == "all")].set_index("window_days")
    assert week.loc[7, "n"] == 18 * DAYS
    assert week.loc[7, "rmsle"] == pytest.approx(week.loc[7, "naive_rmsle"])
    assert week.loc[7, "promised_rmsle"] > 0
    by_day = pd.read_parquet(folder / "served.parquet")
    assert by_day["release"].unique().tolist() == [health.release]
    known = by_day[by_day["ds"] <= "2023-07-31"]
    assert known["actual"].sum() == pytest.approx(shop.week["sales"].sum())
    assert {"error", "bias", "coverage", "freshness", "volume", "scale"} <= {c.name for c in health.checks}
    assert monitor.run(shop.panel().uri, as_of="2023-08-01").key == made.key, "the same day again is found"


def test_a_broken_feed_and_late_actuals_are_breaches(shop: Shop, tmp_path: Path) -> None:
    shop.week.assign(sales=0).to_csv(tmp_path / "week.csv", index=False)
    shop.actuals.add(str(tmp_path / "week.csv"))
    health, _, made = shop.monitor("2023-08-09")
    assert {("volume", "all"), ("freshness", "all")} <= {(c.name, c.segment) for c in health.breaches}
    assert not made.counts["healthy"]


def test_rows_over_http_go_to_the_drop_folder_and_from_there_into_the_panel(shop: Shop) -> None:
    settings = Settings(home=load_settings().home)
    rows = json.loads(shop.week.to_json(orient="records"))
    body = json.dumps({"rows": rows, "table": "train.csv"}).encode()
    for _ in range(2):  # the same rows again are the same file
        answer = asyncio.run(keep(settings, "synthetic", body))
        assert answer.status == 202
    result = CliRunner().invoke(actuals_cli, ["take", "--dataset", "synthetic"], catch_exceptions=False)
    assert result.output.count("taken") == 1
    assert str(open_panel(open_store(), shop.panel().uri).cutoff.date()) == "2023-07-31"


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": []}',
        b'{"rows": [3]}',
        b'{"rows": [{"a": []}]}',
        b'{"rows": [{"a": 1}], "table": "../x"}',
        b'{"table": "x"}',
    ],
)
def test_a_body_without_rows_is_a_problem_that_says_so(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(keep(Settings(home=tmp_path), "synthetic", body))
    assert (caught.value.status, caught.value.field.split("[")[0]) in {
        (422, "body.rows"),
        (422, "body.table"),
    }
    assert not list(tmp_path.rglob("*.json"))


@pytest.fixture
def address() -> Iterator[str]:
    """A service that has answered some requests, as Prometheus sees it."""
    registry = CollectorRegistry()
    answers = Counter("storecast_serving_requests", "x", ["route", "status"], registry=registry)
    seconds = Histogram(
        "storecast_serving_request_seconds", "x", ["route"], buckets=(0.01, 0.1, 1), registry=registry
    )
    for route, status, took in [("/a", 200, 0.002)] * 90 + [("/b", 500, 0.05)] * 9 + [("/b", 429, 0.5)]:
        answers.labels(route, str(status)).inc()
        seconds.labels(route).observe(took)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"release": "r1"}' if self.path == "/readyz" else generate_latest(registry)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *what: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_service_and_the_store_tell_their_figures(address: str, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "x.bin").write_bytes(b"12345")
    (tmp_path / "datasets" / "train" / "key").mkdir(parents=True)
    (tmp_path / "datasets" / "train" / "key" / "model.bin").write_bytes(b"123")
    found = gather(address, str(tmp_path))
    assert found["errors"] == {}
    assert found["store"] == {
        "releases": {"files": 1, "bytes": 5},
        "datasets/train": {"files": 1, "bytes": 3},
    }
    told = found["serving"]
    assert told is not None
    assert (told["ready"], told["release"]) == (True, "r1")
    assert (told["requests"], told["failed"], told["refused"]) == (100, 9, 1)
    assert (told["p50"], told["p95"], told["p99"]) == (0.01, 0.1, 0.1)


def test_a_part_that_is_down_is_named_and_the_rest_is_kept(address: str, tmp_path: Path) -> None:
    found = gather("http://127.0.0.1:9", str(tmp_path))
    assert found["serving"] is None
    assert "ConnectError" in found["errors"]["serving"]
    assert found["store"] == {}
    half = gather(address, "nosuch://bucket/prefix")
    assert half["serving"] is not None
    assert half["store"] is None
    assert set(half["errors"]) == {"store"}
