"""Numbers as people read them, and errors in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dashboard import boundary, charts, look
from storecast.errors import StoreError


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (12.34, "12.3"),
        (950, "950"),
        (1234.5, "1,234"),
        (12_345, "12.3 k"),
        (999_999, "1 M"),
        (9_999, "10 k"),
        (3_054_000, "3.05 M"),
        (12_400_000_000, "12.4 G"),
        (-45_000, "-45 k"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_figures_are_short(value: float | None, said: str) -> None:
    assert look.number(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "just now"), (60, "1 minute ago"), (7_300, "2 hours ago"), (90_000, "1 day ago")],
)
def test_times_are_told_in_their_largest_unit(seconds: int, said: str) -> None:
    when = datetime.now(UTC) - timedelta(seconds=seconds)
    assert look.ago(when) == look.ago(when.isoformat()) == said


def test_dates_and_spans_read_naturally() -> None:
    assert look.day("2017-08-05") == "5 Aug 2017"
    assert [look.duration(s) for s in (0.4, 42, 200, 3_900)] == ["0.4 s", "42 s", "3 min 20 s", "1 h 5 min"]
    assert look.percent(-0.321, signed=True) == "-32.1%"


def test_an_error_says_what_where_found_and_the_cure() -> None:
    error = StoreError("nothing is there", where="s3://x", found="404 `gone`\nand more", cure="look again")
    text = boundary.text_of(error)
    assert text.startswith("Nothing is there.")
    assert "where: `s3://x`" in text
    assert "found: `404 'gone' and more`" in text
    assert "**To fix:** look again" in text


@pytest.mark.parametrize(("days", "mode"), [(1, "markers"), (3, "lines")])
def test_a_measure_of_one_day_is_a_point_beside_its_limit_and_of_several_a_line(days: int, mode: str) -> None:
    dates = pd.date_range("2024-03-01", periods=days)
    table = pd.DataFrame({"value": 0.3, "limit": 0.4}, index=dates)
    figure = charts.limits({"RMSLE": table}, "RMSLE")
    assert [trace.name for trace in figure.data] == ["RMSLE", "limit RMSLE"]
    assert {trace.mode for trace in figure.data} == {mode}
    assert all(len(trace.x) == days for trace in figure.data)
