"""One local stack and one browser for all tests here, and the runs that most of them look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stack import NAMES, TRAINING, Stack, free_port

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack over an empty home."""
    made = Stack(tmp_path_factory.mktemp("stack") / "home", {name: free_port() for name in NAMES})
    made.up()
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A visitor in the light theme."""
    context = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="light")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training config that takes seconds."""
    path = tmp_path_factory.mktemp("training") / "small.yaml"
    path.write_text(TRAINING)
    return path
