"""The dashboard in a browser, against the local stack as `storecast up` brings it.

The tests tell one story, in this order: an empty platform, a first run from the dashboard, a second from the
command line, what can be looked at and done with their releases, and backends that stop.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import httpx
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from stack import Stack, choose, drawn, eventually, keep

from storecast.synthetic import write_after, write_raw

PAGES = ("Overview", "Data", "Forecasts", "Training", "Models", "Monitoring", "Settings")
RUN_SECONDS, SWAP_SECONDS = 600.0, 60.0


def releases(stack: Stack) -> list[str]:
    folder = stack.home / "releases" / "synthetic"
    return sorted(path.name for path in folder.glob("2*")) if folder.exists() else []


def current(stack: Stack) -> str:
    return str(json.loads((stack.home / "releases" / "synthetic" / "current.json").read_text())["current"])


def say(page: Page, text: str | re.Pattern[str], seconds: float = 30.0) -> None:
    """The page says something, in time."""
    expect(page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)


def test_an_empty_platform_says_what_to_do_first(stack: Stack, page: Page) -> None:
    for title in PAGES:
        stack.go(page, title)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        assert "Traceback" not in page.content()
    stack.go(page, "Overview")
    say(page, "Nothing has been released yet")
    say(page, "nobody is asked to log in")
    keep(page, "empty")
    page.get_by_role("link", name="Start the demo run").click()
    say(page, "No run yet")


def test_a_run_started_in_the_dashboard_ends_in_a_release(stack: Stack, page: Page) -> None:
    stack.go(page, "Training")
    choose(page, "Training config", "smoke")
    page.get_by_text("Change the config for this run").click()
    for model in ("arima", "lstm"):
        page.get_by_role("button", name=f"Remove {model}").click()
        expect(page.get_by_role("button", name=f"Remove {model}")).to_have_count(0)
    drawn(page)
    page.get_by_text("Change the config for this run").click()
    page.get_by_role("button", name="Start the run").click()
    say(page, "Started", 60)
    say(page, "Running", 90)
    keep(page, "training-running")
    say(page, re.compile("Overall RMSLE .* beats the seasonal naive"), RUN_SECONDS)
    say(page, re.compile(r"^1\d stages$"))
    drawn(page)
    page.get_by_role("tab", name="Log").click()
    say(page, "train gbm at")
    keep(page, "training")
    assert len(releases(stack)) == 1


def test_the_overview_shows_that_the_forecast_is_healthy_and_served(stack: Stack, page: Page) -> None:
    def served() -> bool:
        stack.go(page, "Overview")
        return "yes" in page.get_by_test_id("stMetric").filter(has_text="Served").inner_text()

    eventually(served, SWAP_SECONDS, "the release is served")
    say(page, re.compile("vs naive"))
    say(page, "All sales: 36 series of synthetic")
    keep(page, "overview")


def test_a_second_run_from_the_command_line_shows_beside_the_first(
    stack: Stack, page: Page, training: Path
) -> None:
    printed = stack.storecast("runs", "start", "--demo", "--seed", "8", "--profile", str(training), "--watch")
    assert "Completed" in printed
    assert len(releases(stack)) == 2
    stack.go(page, "Models")
    for name in releases(stack):
        choose(page, "Look at release", name)
    keep(page, "models")
    for tab in ("By segment", "Gate's verdict", "Made from"):
        page.get_by_role("tab", name=tab).click()
        keep(page, f"models-{tab.split()[0].lower()}")


def test_rolling_back_and_promoting_move_what_is_served(stack: Stack, page: Page) -> None:
    newest = current(stack)
    oldest = next(name for name in releases(stack) if name != newest)
    stack.go(page, "Models")
    page.get_by_role("button", name="Roll back").click()
    keep(page, "roll-back")
    page.get_by_role("button", name="Roll back now").click()
    say(page, f"{oldest} is the current release.", 90)
    assert current(stack) == oldest
    eventually(lambda: _served(stack) == oldest, SWAP_SECONDS, "the old release is served")

    stack.go(page, "Models")
    choose(page, "Look at release", newest)
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("button", name="Promote it").click()
    say(page, f"{newest} is the current release.", 90)
    assert current(stack) == newest
    eventually(lambda: _served(stack) == newest, SWAP_SECONDS, "the new release is served")


def _served(stack: Stack) -> str:
    key = stack.storecast("keys", "create", "--id", "tests").strip()
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.get(f"{stack.url('serving')}/v1/releases/current", headers=headers, timeout=30)
    return str(answer.json().get("id", ""))


def test_a_series_an_aggregate_and_another_release_can_be_looked_at(stack: Stack, page: Page) -> None:
    stack.go(page, "Forecasts")
    expect(page.get_by_role("figure", name=re.compile(r"All sales \(36 series\)"))).to_be_visible()
    choose(page, "Store", "1")
    expect(page.get_by_role("figure", name=re.compile(r"store_nbr 1 \(6 series\)"))).to_be_visible()
    choose(page, "Family", "GROCERY")
    one = page.get_by_role("figure", name=re.compile(r"store_nbr 1, family GROCERY\."))
    expect(one).to_be_visible()
    for mark in ("95 % interval", "On promotion", "Holiday"):
        expect(one.get_by_text(mark)).to_be_visible()
    page.get_by_role("combobox", name="Compare with releases").click()
    page.get_by_role("option").first.click()
    page.keyboard.press("Escape")
    expect(one.get_by_text(re.compile("release 20"))).to_be_visible()
    keep(page, "forecasts")


def test_promotions_edited_in_the_table_are_answered_by_the_model(stack: Stack, page: Page) -> None:
    stack.go(page, "Forecasts")
    choose(page, "Store", "1")
    choose(page, "Family", "GROCERY")
    page.get_by_role("tab", name="What if").click()
    grid = page.get_by_test_id("stDataFrame").filter(visible=True)
    expect(grid).to_be_visible()
    box = grid.bounding_box()
    assert box is not None
    for row in range(3):  # the second column's cells, 35 pixels each below the header
        page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + 35 * (row + 1.5))
        page.keyboard.type("60")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Ask the model").click()
    say(page, re.compile("What if, release .* against the plan"), 90)
    difference = page.get_by_test_id("stMetric").filter(has_text="Difference").inner_text()
    assert re.search(r"\+[\d.,]+", difference), difference
    keep(page, "what-if")


def test_the_forecast_leaves_as_csv_and_as_a_workbook(stack: Stack, page: Page) -> None:
    stack.go(page, "Forecasts")
    choose(page, "Store", "1")
    page.get_by_role("tab", name="Export").click()
    say(page, "96 rows: store_nbr 1")
    drawn(page)
    files = {}
    for button in ("CSV", "Excel"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=button, exact=True).click()
        files[button] = (waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes())
    keep(page, "export")
    csv = pd.read_csv(io.BytesIO(files["CSV"][1]))
    sheets = pd.read_excel(io.BytesIO(files["Excel"][1]), sheet_name=None)
    assert files["CSV"][0] == f"forecast-synthetic-1-{current(stack)}.csv"
    assert len(csv) == len(sheets["forecast"]) == 6 * 16
    assert list(csv.columns)[:4] == ["store_nbr", "family", "ds", "yhat"]
    assert set(sheets) == {"forecast", "about"}


def test_uploaded_files_are_kept_whole_and_offered_to_a_run(stack: Stack, page: Page) -> None:
    stack.go(page, "Data")
    choose(page, "Data set config", "synthetic")
    raw = next((stack.home / "datasets" / "synthetic").glob("*"), None)
    assert raw is not None
    files = [path for path in raw.iterdir() if path.suffix == ".csv"]
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name="Keep them").click()
    say(page, "The files are at")
    kept = next((stack.home / "uploads" / "synthetic").glob("*"))
    assert {p.name: p.read_bytes() for p in kept.iterdir()} == {p.name: p.read_bytes() for p in files}
    keep(page, "data")
    page.get_by_role("link", name="Start a run on them").click()
    expect(page.get_by_role("textbox", name="Raw files")).to_have_value(str(kept))


def press(page: Page, name: str) -> None:
    """Go to something by the tabulator, once it is there, and press Enter."""
    expect(page.get_by_text(name, exact=True).filter(visible=True).first).to_be_visible()
    met = []
    for _ in range(80):
        page.keyboard.press("Tab")
        met.append(str(page.evaluate("document.activeElement.innerText || ''")).strip().split("\n")[-1])
        if met[-1] == name:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{name} is not reached by keyboard, but {met}")


def test_a_run_is_started_and_cancelled_by_keyboard_alone(stack: Stack, page: Page) -> None:
    stack.go(page, "Overview")
    press(page, "Training")
    expect(page.get_by_role("heading", name="Training", exact=True)).to_be_visible(timeout=30_000)
    drawn(page)
    press(page, "Start the run")
    say(page, "Running", 90)
    press(page, "Cancel")
    say(page, "Cancelled", 90)


def test_every_action_is_in_the_audit_log(stack: Stack, page: Page) -> None:
    entries = [json.loads(path.read_text()) for path in (stack.home / "audit").rglob("*.json")]
    ended = {entry["action"] for entry in entries if entry["state"] == "done"}
    assert ended == {"start run", "roll back", "promote", "upload", "cancel run"}
    stack.go(page, "Settings")
    keep(page, "settings")
    page.get_by_role("tab", name="Audit log").click()
    keep(page, "audit")


def serious(page: Page) -> list[tuple[str, str]]:
    """Rules that a page breaks, each with an element that does."""
    findings = Axe().run(page).response["violations"]
    return [
        (each["id"], each["nodes"][0]["html"][:200])
        for each in findings
        if each["impact"] in ("serious", "critical")
    ]


def test_once_sales_have_arrived_the_errors_of_what_was_served_stand_beside_the_naive(
    stack: Stack, page: Page, tmp_path: Path
) -> None:
    write_raw(tmp_path / "raw", seed=8)
    write_after(tmp_path / "after", seed=8)
    for name in ("train.csv", "test.csv"):
        stack.storecast("actuals", "add", str(tmp_path / "after" / name), "--dataset", "synthetic")
    stack.storecast("loop", "run", "--dataset", "synthetic", "--data", str(tmp_path / "raw"))
    stack.go(page, "Monitoring")
    expect(
        page.get_by_role("figure", name="RMSLE of all series, each day by itself, what was served")
    ).to_be_visible()
    for line in ("served", "naive", "promised"):
        say(page, re.compile(f"^{line}$"))
    choose(page, "Measure", "Within the 80 % interval")
    choose(page, "Of", "family: GROCERY")
    choose(page, "Over", "the 7 days up to each")
    shown = page.get_by_role(
        "figure", name="Within the 80 % interval of family: GROCERY, the 7 days up to each, what was served"
    )
    expect(shown).to_be_visible()
    expect(shown.get_by_text("aim", exact=True)).to_be_visible()
    keep(page, "monitoring-errors")
    page.get_by_role("tab", name="Drift").click()
    choose(page, "Figure", "level")
    expect(page.get_by_role("figure", name=re.compile("^Move of level of all series, "))).to_be_visible()
    say(page, "The largest moves of the last day")
    keep(page, "monitoring-drift")
    page.get_by_role("tab", name="Decisions").click()
    expect(page.get_by_test_id("stDataFrame").filter(visible=True).first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_finding(stack: Stack, browser: Browser, theme: str) -> None:
    context = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme=theme)
    page, found = context.new_page(), []
    for title in PAGES:
        stack.go(page, title)
        tabs = page.get_by_role("tab").all()
        for tab in tabs or [None]:
            if tab is not None:
                tab.click()
                drawn(page)
            found += [(title, *each) for each in serious(page)]
        keep(page, f"{title.lower()}-{theme}")
    context.close()
    assert found == []


@pytest.mark.parametrize(
    ("name", "title", "said", "rest"),
    [
        ("serving", "Overview", "the service cannot be reached", "All sales: 36 series of synthetic"),
        ("prefect", "Overview", "The Prefect API refused or cannot be reached", "All sales: 36 series"),
        ("mlflow", "Overview", "SQLite in the home folder", "All sales: 36 series of synthetic"),
    ],
)
def test_a_backend_that_stops_is_named_and_the_rest_goes_on(
    name: str, title: str, said: str, rest: str, stack: Stack, page: Page
) -> None:
    stack.stop(name)
    stack.go(page, title)
    say(page, said)
    say(page, rest)
    assert "Traceback" not in page.content()
    keep(page, f"without-{name}")
    stack.up()

    def back() -> bool:
        stack.go(page, title)
        return page.get_by_text("down", exact=True).count() == 0

    eventually(back, 60, f"{name} is back")


def test_once_there_are_users_they_log_in_and_viewers_only_look(stack: Stack, page: Page) -> None:
    for name, role in (("vera", "viewer"), ("otto", "operator")):
        stack.storecast("dashboard", "add-user", name, "--role", role, "--password", f"{name}-password")
    page.goto(stack.url("dashboard"))
    _log_in(page, "vera", "a wrong password")
    say(page, "The name or the password is wrong.")
    keep(page, "log-in")
    _log_in(page, "vera", "vera-password")
    say(page, "vera · viewer")
    page.get_by_role("link", name="Training").click()
    expect(page.get_by_role("button", name="Start the run")).to_be_disabled(timeout=30_000)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("button", name="Roll back")).to_be_disabled(timeout=30_000)
    page.get_by_role("button", name="Log out").click()
    _log_in(page, "otto", "otto-password")
    say(page, "otto · operator")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("button", name="Roll back")).to_be_enabled(timeout=30_000)
    stack.storecast("dashboard", "remove-user", "otto")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=30_000)


def _log_in(page: Page, name: str, password: str) -> None:
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Log in").click()
