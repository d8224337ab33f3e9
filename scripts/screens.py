"""Draw the pictures of the README's tour, after its fifth step: `python scripts/screens.py [PAGE ...]`.

Needs Chromium (CHROMIUM=/path) and pdftocairo (poppler-utils): a page of the dashboard is printed as Chromium
draws it on the screen and becomes an SVG, sharp at any size.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

TARGET = Path(__file__).parent.parent / "docs" / "pictures"
ADDRESS = os.environ.get("DASHBOARD", "http://127.0.0.1:8501")
PAGES = ("Overview", "Forecasts", "Training", "Models", "Monitoring")
WIDTH, HEIGHT = 1280, 860
STILL = """() => {
  for (const canvas of document.querySelectorAll("canvas")) {
    const picture = new Image();
    picture.src = canvas.toDataURL();
    picture.style.cssText = canvas.style.cssText;
    picture.width = canvas.clientWidth;
    picture.height = canvas.clientHeight;
    canvas.replaceWith(picture);
  }
}"""
"""Tables are drawn on canvases, which Chromium empties when it lays a page out for print."""
DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def main() -> None:
    """Write docs/pictures/screen-*.svg."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", device_scale_factor=2
        )
        page.emulate_media(media="screen", color_scheme="light")
        for title in sys.argv[1:] or PAGES:
            page.goto(f"{ADDRESS}/{'' if title == PAGES[0] else title.lower()}")
            page.get_by_role("heading", name=title, exact=True, level=1).wait_for(timeout=60_000)
            page.wait_for_selector(DRAWN, timeout=60_000)
            page.wait_for_timeout(1_500)  # pictures settle
            target = TARGET / f"screen-{title.lower()}.svg"
            draw(page, target)
            print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
        browser.close()


def draw(page: Page, target: Path) -> None:
    """Print a page on one sheet, so that nothing is broken over two, and keep what a window shows of it."""
    height = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")) + 40
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.wait_for_timeout(600)
    page.evaluate(STILL)
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "page.pdf"
        page.pdf(path=printed, print_background=True, width=f"{WIDTH}px", height=f"{height}px")
        command = ["pdftocairo", "-svg", "-f", "1", "-l", "1", str(printed), str(target)]
        subprocess.run(command, check=True)  # noqa: S603
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    text = re.sub(r"(\d\d\.\d\d)\d+", r"\1", target.read_text())
    text = re.sub(r"\b(\d\.\d{5})\d+", r"\1", text)  # scales: some more digits matter
    width, shown = WIDTH * 3 // 4, HEIGHT * 3 // 4  # in points
    size = f'width="{width}pt" height="{shown}pt" viewBox="0 0 {width} {shown}"'
    target.write_text(re.sub(r'width="[^"]*" height="[^"]*" viewBox="[^"]*"', size, text, count=1))


if __name__ == "__main__":
    main()
