"""Every page without any server: on an empty platform, and on releases that lack what a page would show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_pages import draw, on_loopback, words
from serving_shop import make_shop
from streamlit import config
from streamlit.testing.v1 import AppTest

from storecast.loop.decisions import Decision, DecisionLog
from storecast.monitor.health import Check, Health, write_health
from storecast.store import uri as uris

PAGES = ("overview", "data", "forecasts", "training", "models", "monitoring", "settings")


@pytest.fixture
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, no Prefect, no service, and a dashboard on loopback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    monkeypatch.setenv("STORECAST_SERVING_URL", "http://127.0.0.1:9")
    with on_loopback():
        yield tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_on_an_empty_platform_every_page_says_what_to_do(page: str, nobody_home: Path) -> None:
    said = words(draw(page))
    first = {
        "training": "storecast up",
        "monitoring": "storecast loop run",
        "settings": "You are **local**",
    }
    assert first.get(page, "Nothing has been released yet") in said


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases without scores, backtest, gate or quality report."""
    return make_shop(tmp_path_factory.mktemp("shop")).home


@pytest.mark.parametrize(
    ("page", "shown", "missing"),
    [
        ("overview", "All sales: 9 series of shop", "scores_overall cannot be read"),
        ("forecasts", "", "backtest cannot be read"),
        ("models", "Releases", "decision.json cannot be read"),
        ("data", "Upload", "quality.json cannot be read"),
    ],
)
def test_what_a_release_lacks_is_said_in_its_place(
    page: str, shown: str, missing: str, shop: Path, nobody_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(shop))
    said = words(draw(page))
    assert shown in said
    assert missing in said


def test_of_a_refreshed_release_the_page_says_whose_model_it_is(shop: Path, nobody_home: Path) -> None:
    shutil.copytree(shop / "releases", nobody_home / "releases")
    for file in nobody_home.glob("releases/shop/*/lineage.json"):
        file.write_text(json.dumps({"panel": {"stage": "ingest", "inputs": {}}, "refreshed": "the-first"}))
    assert "The model is that of the-first" in words(draw("models"))


def test_the_system_tab_says_how_much_is_stored_of_what(shop: Path, nobody_home: Path) -> None:
    shutil.copytree(shop / "releases", nobody_home / "releases")
    (nobody_home / "audit").mkdir()
    (nobody_home / "audit" / "one.json").write_bytes(b"x" * 2_000_000)
    drawn = draw("monitoring")
    table = next(frame.value for frame in drawn.dataframe if list(frame.value) == ["Kind", "Files", "MB"])
    by_kind = table.set_index("Kind")
    assert by_kind.loc["audit"].to_dict() == {"Files": 1, "MB": 2.0}
    files = [path for path in (nobody_home / "releases").rglob("*") if path.is_file()]
    assert by_kind.loc["releases", "Files"] == len(files)
    assert by_kind.loc["releases", "MB"] == pytest.approx(sum(f.stat().st_size for f in files) / 1e6)


def test_without_prefect_and_service_the_overview_names_both_and_shows_the_forecast(
    shop: Path, nobody_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(shop))
    drawn = draw("overview")
    said = words(drawn)
    assert "no Prefect API is named" in said
    assert "does not answer at http://127.0.0.1:9" in said
    served = next(metric for metric in drawn.metric if metric.label == "Served")
    assert (served.value, served.delta) == ("no", "the service cannot be reached")
    assert any(metric.label == "Forecast until" for metric in drawn.metric)


def record(home: Path, *checks: Check) -> None:
    """What monitoring found of the shop, as the stage writes it."""
    folder = home / "datasets" / "monitor" / "a-day"
    folder.mkdir(parents=True)
    write_health(Health("shop", "r1", "2023-07-25", checks), folder)


FEW = "96 rows of what was served have actuals, 200 are needed: about 3 more days of actuals."
UNKNOWN = Check("error", "all", None, 0.0, False, 28, FEW)
FRESH = Check("freshness", "all", 0.0, 2.0, False, 1, "the last actuals are of 2023-07-25")
KNOWN = Check("error", "all", 0.9, 1.25, False, 28, "RMSLE 0.4, seasonal naive 0.44")
YOUNG = Check("error_drift", "all", None, 0.0, False, 7, "Moves are told after about 68 dates.")
LATE = Check("freshness", "all", 9.0, 2.0, True, 1, "the last actuals are of 2023-07-16")


@pytest.mark.parametrize("page", ["overview", "monitoring"])
@pytest.mark.parametrize(
    ("checks", "shown", "not_shown"),
    [
        ((UNKNOWN, FRESH), ("Not judged yet.", f"**Error**: {FEW}"), ("larm",)),
        ((KNOWN, FRESH, YOUNG), ("larm", "Not judged yet:", YOUNG.note), ("Not judged yet.",)),
        ((UNKNOWN, LATE), (f"**Freshness**: {LATE.note}", f"**Error**: {FEW}"), ("larm",)),
    ],
)
def test_what_could_not_be_judged_is_never_shown_as_all_well(
    page: str,
    checks: tuple[Check, ...],
    shown: tuple[str, ...],
    not_shown: tuple[str, ...],
    shop: Path,
    nobody_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(shop / "releases", nobody_home / "releases")
    record(nobody_home, *checks)
    drawn = draw(page)
    said = words(drawn) + "\n".join(str(box.value) for box in drawn.success)
    assert all(text in said for text in shown)
    calm = "\n".join(str(box.value) for box in drawn.success)
    assert not any(text in calm for text in not_shown)


def test_a_day_that_is_still_being_written_is_shown_once_it_is_there(shop: Path, nobody_home: Path) -> None:
    shutil.copytree(shop / "releases", nobody_home / "releases")
    (nobody_home / "datasets" / "monitor" / "a-day").mkdir(parents=True)
    assert KNOWN.note not in words(draw("overview"))
    shutil.rmtree(nobody_home / "datasets")
    record(nobody_home, LATE)
    assert LATE.note in words(draw("overview"))


@pytest.mark.parametrize("page", ["models", "monitoring"])
def test_releases_and_decisions_which_never_change_are_read_once(
    page: str, shop: Path, nobody_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shop / "releases", nobody_home / "releases")
    log = DecisionLog(str(nobody_home), "shop")
    for day in ("2023-07-25", "2023-07-26"):
        log.record(Decision("shop", day, f"{day}T01:00:00.000+00:00", "r1", "nothing", "breach", "calm"))
    read: list[str] = []
    read_text = uris.read_text

    def counted(uri: str) -> str:
        read.append(uris.name_of(uri))
        return read_text(uri)

    monkeypatch.setattr(uris, "read_text", counted)

    def reads() -> list[str]:
        read.clear()
        draw(page)
        return [name for name in read if name == "release.json" or name.startswith("2023-07-2")]

    assert len(reads()) >= 2
    assert len(reads()) <= 1, "but for the current release"


def test_without_a_store_the_monitoring_page_says_so_and_goes_on(
    nobody_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORECAST_WORKSPACE", "nosuch://bucket/prefix")
    said = words(draw("monitoring"))
    assert "**Store**" in said
    assert "The loop has decided nothing yet." in said
    assert "no Prefect API is named" in said


def test_a_dashboard_on_a_network_that_asks_nobody_shows_nothing(nobody_home: Path) -> None:
    config.set_option("server.address", "0.0.0.0")  # noqa: S104
    main = Path(__file__).parents[2] / "dashboard" / "main.py"
    drawn = AppTest.from_file(str(main), default_timeout=60).run()
    assert len(drawn.exception) == 1
    assert "asks nobody who they are" in drawn.exception[0].message
    assert not drawn.title
