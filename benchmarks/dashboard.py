"""How soon the dashboard's first page is there, in a browser that has seen nothing of it before.

    python -m benchmarks.dashboard --home .storecast

Each visit is a new browser context: no cache, no session. The bar is 2 s until the figures are there.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, sync_playwright

BAR_SECONDS, VISITS, START_SECONDS = 2.0, 5, 120.0
CHROMIUM = "/usr/bin/chromium"


def main(
    home: Annotated[Path, typer.Option(help="Home folder with a current release.", exists=True)],
) -> None:
    """Print the median of some visits beside the bar; exit code 1 above it."""
    with dashboard(home) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = [visit(browser, url) for _ in range(VISITS)]
        browser.close()
    figures, picture = (statistics.median(column) for column in zip(*found, strict=True))
    load = os.getloadavg()[0]
    print(
        f"first page: figures after {figures:.2f} s, picture after {picture:.2f} s; median of {VISITS} visits"
    )
    print(
        f"bar {BAR_SECONDS:.1f} s for the figures; load of the machine {load:.1f} on {os.cpu_count()} cores"
    )
    raise typer.Exit(int(figures > BAR_SECONDS))


def visit(browser: Browser, url: str) -> tuple[float, float]:
    """Seconds until the figures and until the picture are there, for a new visitor."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page, began = context.new_page(), time.perf_counter()
    page.goto(url)
    page.get_by_test_id("stMetric").nth(3).wait_for()
    figures = time.perf_counter() - began
    page.get_by_role("figure").first.wait_for()
    picture = time.perf_counter() - began
    context.close()
    return figures, picture


@contextmanager
def dashboard(home: Path) -> Iterator[str]:
    """`python -m dashboard` over a home, until the block ends; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "STORECAST_HOME": str(home.absolute())}
    command = [sys.executable, "-m", "dashboard", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while not answers(f"{url}/_stcore/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the dashboard did not start")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (our own http address)
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    typer.run(main)
