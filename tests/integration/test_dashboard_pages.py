"""Every page without any server: on an empty platform, and on releases that lack what a page would show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from serving_shop import make_shop
from streamlit import config
from streamlit.testing.v1 import AppTest

PAGES = ("overview", "data", "forecasts", "training", "models", "monitoring", "settings")


def draw(page: str) -> AppTest:
    """A page as a visitor gets it; errors that nothing in the page has caught end the test."""

    def script(name: str) -> None:
        import importlib

        import streamlit as st

        from dashboard.views import common

        titles = {"training": "Training", "monitoring": "Monitoring"}
        common.remember([st.Page(lambda: None, title=t, url_path=u) for u, t in titles.items()])
        importlib.import_module(f"dashboard.views.{name}").page()

    drawn = AppTest.from_function(script, args=(page,), default_timeout=60).run()
    assert not drawn.exception, drawn.exception[0].message
    return drawn


def words(drawn: AppTest) -> str:
    """All that a page says."""
    parts = (drawn.title, drawn.header, drawn.markdown, drawn.caption, drawn.warning, drawn.error, drawn.info)
    return "\n".join(str(element.value) for part in parts for element in part)


@pytest.fixture
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, no Prefect, no service, and a dashboard on loopback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    monkeypatch.setenv("STORECAST_DASHBOARD_SERVICE_URL", "http://127.0.0.1:9")
    before = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")
    st.cache_data.clear()
    yield tmp_path
    config.set_option("server.address", before)
    st.cache_data.clear()


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


def test_a_dashboard_on_a_network_that_asks_nobody_shows_nothing(nobody_home: Path) -> None:
    config.set_option("server.address", "0.0.0.0")  # noqa: S104
    main = Path(__file__).parents[2] / "dashboard" / "main.py"
    drawn = AppTest.from_file(str(main), default_timeout=60).run()
    assert len(drawn.exception) == 1
    assert "asks nobody who they are" in drawn.exception[0].message
    assert not drawn.title
