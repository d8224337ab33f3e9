"""The local stack as users start it, with ports and a home of its own, and how to look at its pages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as LateError

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "build" / "screens"
NAMES = ("prefect", "runner", "mlflow", "serving", "dashboard")
QUIET = '[data-testid="stApp"][data-test-script-state="notRunning"]'
TRAINING = """name: small
models: [naive, gbm]
profile: smoke
folds: 1
gate: {min_rows: 100}
"""


def eventually(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of a check, which must come in time."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Stack:
    """`storecast up` over a home."""

    home: Path
    ports: dict[str, int]

    def storecast(self, *arguments: str, text: str = "") -> str:
        """Run the command line; what it printed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STORECAST_", "PREFECT_"))}
        environment = {**kept, "STORECAST_HOME": str(self.home), "COLUMNS": "200"}
        command = [sys.executable, "-m", "pipelines.cli", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        self.storecast("up", *(part for name in NAMES for part in (f"--{name}-port", str(self.ports[name]))))

    def down(self) -> None:
        self.storecast("down")

    def stop(self, name: str) -> None:
        """End one server, and wait until nothing answers in its place."""
        file = self.home / "run" / f"{name}.pid"
        os.killpg(int(file.read_text().split()[0]), signal.SIGTERM)
        eventually(lambda: not listens(self.ports[name]), 60, f"{name} has stopped")

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def go(self, page: Page, title: str) -> None:
        """Open a page of the dashboard anew and wait until it is drawn."""
        page.goto(f"{self.url('dashboard')}/{'' if title == 'Overview' else title.lower()}")
        page.get_by_role("heading", name=title, exact=True, level=1).wait_for(timeout=60_000)
        drawn(page)


def drawn(page: Page) -> None:
    """Wait until the script has come to its end."""
    page.wait_for_selector(QUIET, timeout=60_000)


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a select box; one that was drawn anew meanwhile is opened again."""
    box = page.get_by_role("combobox", name=label, exact=True)

    def picked() -> bool:
        box.click()
        try:
            page.get_by_role("option", name=option, exact=True).click(timeout=3_000)
        except LateError:
            page.keyboard.press("Escape")
            return False
        return True

    eventually(picked, 30, f"{option} can be chosen as {label}")
    drawn(page)


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    height = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight"))
    page.set_viewport_size({"width": 1360, "height": max(900, min(height + 40, 3000))})
    page.wait_for_timeout(600)  # pictures take their new size
    page.screenshot(path=SCREENS / f"{name}.png")
    if size:
        page.set_viewport_size(size)
