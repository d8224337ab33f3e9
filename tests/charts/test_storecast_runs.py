"""The platform's chart: what runs ask the service of forecasts, and whom they tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.keys import KeyRing
from tests.charts.helm import Rendered, render
from tests.charts.test_storecast_network import RUN, allowed, part, side
from tests.charts.test_storecast_values import environment_secrets


def test_a_run_may_ask_which_release_is_served_and_nothing_more(tmp_path: Path) -> None:
    chart = render("storecast")
    url = chart.one("ConfigMap", "storecast-run")["data"]["STORECAST_SERVING_URL"]
    assert url == "http://storecast-serving:3000"
    (tmp_path / "keys.json").write_text(
        chart.one("Secret", "storecast-serving-keys")["stringData"]["keys.json"]
    )
    key = chart.one("Secret", "storecast-run")["stringData"]["STORECAST_SERVING_KEY"]
    found = KeyRing(tmp_path / "keys.json").find(key.encode())
    assert found is not None
    assert (found.id, set(found.scopes)) == ("runs", {"read"})
    assert allowed(chart, RUN, part("serving"), 3000)


def test_without_the_service_or_with_keys_of_yours_runs_get_no_key() -> None:
    for setting in ("serving.enabled=false", "serving.keys.existingSecret=mine"):
        secret = render("storecast", setting).one("Secret", "storecast-run")["stringData"]
        assert "STORECAST_SERVING_KEY" not in secret
    data = render("storecast", "serving.enabled=false").one("ConfigMap", "storecast-run")["data"]
    assert "STORECAST_SERVING_URL" not in data


def test_runs_tell_people_where_a_secret_says_whom() -> None:
    ports = ("run.notify.ports[0]=443", "run.notify.ports[1]=587")
    chart = render("storecast", "run.notify.existingSecret=people", *ports)
    assert environment_secrets(chart) == ["storecast-run", "people"]
    assert outside(chart) == [443, 587]
    assert outside(render("storecast")) == []


def outside(chart: Rendered) -> list[Any]:
    """Ports on which runs reach addresses, not pods."""
    return [
        entry["port"]
        for rule in side(chart, RUN, "egress")
        for entry in rule["ports"]
        if any("ipBlock" in peer for peer in rule["to"])
    ]
