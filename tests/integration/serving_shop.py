"""Releases of a small synthetic panel, and the service over them as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from serving import keys
from serving.access_log import AccessLog
from serving.door import Door
from serving.meters import Meters
from serving.state import State
from serving.table import ReleaseTable
from serving.watcher import Watcher
from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.models.base import FitContext
from storecast.models.gbm import BoosterConfig, Gbm, GbmConfig
from storecast.panel import Panel
from storecast.panel_io import write_panel
from storecast.settings import Settings
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore
from storecast.synthetic import make_panel

ROOT = Path(__file__).parents[2]
KEYS = ("store_nbr", "family")
PLAIN = Calibration((0.025, 0.1, 0.5, 0.9, 0.975), 16, 1, (1.0,) * 5, {}, {})


def publish(
    home: Path,
    seed: int,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda f: f,
    given: Callable[[Panel], Panel] = lambda p: p,
) -> Release:
    """A release of the panel of a seed, or of what `given` makes of it; `change` makes its forecasts others
    than the model's."""
    panel = given(make_panel(n_stores=3, n_families=3, n_days=200, seed=seed))
    store = ReleaseStore(DatasetStore(str(home)), "shop")
    context = home / f"panel-{seed}"
    context.mkdir(parents=True, exist_ok=True)
    write_panel(panel, context, dataset="shop", keys=KEYS)
    model = Gbm(GbmConfig(boosters=(BoosterConfig(rounds=10, step_days=20),), spread_rounds=5))
    model.fit(panel, FitContext())
    cutoff = str(panel.cutoff.date())
    about = {"dataset": "shop", "keys": list(KEYS), "cutoff": cutoff, "fitted_to": cutoff, "horizon": 16}
    with store.store.building(f"release-{seed}") as folder:
        write_bundle(folder / "bundle", model, PLAIN, context, about)
        forecasts = change(Bundle.load(folder / "bundle").forecast())
        forecasts.to_parquet(folder / "forecasts.parquet", index=False)
        (folder / "lineage.json").write_text(json.dumps({"panel": {"hash": str(seed)}}))
        said = {"rmsle_last_fold": {"gbm": 0.4, "blend": 0.39}, "promoted": True, "series": panel.n_series}
        return store.publish(folder, {**about, **said, "rows": panel.n_series * 16, "champion": ""})


def stored(release: Release) -> dict[str, list[float]]:
    """The points that a release stores, by series, as answers round them."""
    frame = pd.read_parquet(Path(release.uri) / "forecasts.parquet").sort_values("ds")
    return {str(name): part["yhat"].round(4).tolist() for name, part in frame.groupby("unique_id")}


@dataclass(frozen=True)
class Shop:
    """A home with releases `first` (current) and `second`, and a key for everything."""

    home: Path
    first: Release
    second: Release
    key: str

    @property
    def store(self) -> ReleaseStore:
        return ReleaseStore(DatasetStore(str(self.home)), "shop")

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home)

    def make_key(self, name: str, *scopes: str) -> str:
        return keys.create(keys.keys_path(self.settings), name, scopes, None)


def make_shop(home: Path) -> Shop:
    first, second = publish(home, 1), publish(home, 2)
    token = keys.create(keys.keys_path(Settings(home=home)), "tests", keys.SCOPES, None)
    shop = Shop(home, first, second, token)
    shop.store.activate(first.id, "first")
    return shop


@cache
def process_meters() -> Meters:
    """The meters of this process, which can have them once."""
    return Meters()


def ask(watcher: Watcher[ReleaseTable], shop: Shop, method: str, path: str) -> httpx.Response:
    """The answer of a worker with that watcher."""

    async def no_app(*_: Any) -> None:
        raise AssertionError("BentoML is not asked")

    async def one() -> httpx.Response:
        headers = {"authorization": f"Bearer {shop.key}"}
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
            return await client.request(method, path)

    nowhere = os.open(os.devnull, os.O_WRONLY)
    door = Door(no_app, State(watcher.settings, watcher), process_meters(), AccessLog(nowhere))
    try:
        return asyncio.run(one())
    finally:
        os.close(nowhere)


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    trusts: ssl.SSLContext | bool = True

    def client(self, key: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=self.trusts)

    def serves(self, release: str, key: str, times: int = 20) -> bool:
        """Whether that many answers in a row, over new connections, are of a release: so of every worker."""
        for _ in range(times):
            with self.client(key) as client:
                if client.get("/v1/series").headers.get("storecast-release") != release:
                    return False
        return True


def eventually(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of a check, which must come in time."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    home: Path, settings: Mapping[str, str] | None = None, trusts: ssl.SSLContext | None = None
) -> Iterator[Service]:
    """`storecast serve` over a home, until the block ends; with TLS where it is told whom to trust."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STORECAST_", "BENTOML_", "COV"))}
    port = free_port()
    log = home / f"service-{port}.log"
    environment = {**kept, "STORECAST_HOME": str(home), **(settings or {})}
    command = [sys.executable, "-m", "pipelines.cli", "serve", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
    scheme = "https" if trusts else "http"
    service = Service(f"{scheme}://127.0.0.1:{port}", process, log, trusts or True)
    try:
        eventually(lambda: answers(service, "/livez"), 60, f"the service: {log}")
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)


def answers(service: Service, path: str) -> bool:
    assert service.process.poll() is None, service.log.read_text()
    try:
        return httpx.get(service.url + path, timeout=5, verify=service.trusts).status_code == 200
    except httpx.TransportError:
        return False
