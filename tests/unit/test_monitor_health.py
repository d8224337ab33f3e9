"""A health record survives the trip through its file, and says what is wrong with one that is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from storecast.errors import DataError
from storecast.monitor.health import Check, Health, read_health, write_health

GOOD = Check("bias", "all", 0.01, 0.1, False, 28, "fine")
BAD = Check("error", "volume=high", 1.4, 1.2, True, 28, "0.49 against 0.35")
UNKNOWN = Check("coverage", "all", None, 0.6, False, 28, "no actuals yet")
HEALTH = Health("store_sales", "2017-07-30-abc", "2017-08-15", (BAD, GOOD, UNKNOWN), {"rows": 7})


def test_a_health_record_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    write_health(HEALTH, tmp_path)
    assert read_health(tmp_path) == HEALTH


def test_only_breached_checks_are_breaches() -> None:
    assert HEALTH.breaches == (BAD,)
    assert not HEALTH.healthy
    assert HEALTH.to_frame()["breached"].tolist() == [True, False, False]


def test_without_the_error_nothing_is_healthy_and_a_breach_is_a_breach_all_the_same() -> None:
    unknown = replace(BAD, value=None, breached=False, note="no actuals yet")
    nothing = replace(HEALTH, checks=(unknown, GOOD))
    assert (nothing.state, nothing.healthy, nothing.breaches) == ("unjudged", False, ())
    assert replace(HEALTH, checks=()).state == "unjudged"
    assert replace(nothing, checks=(unknown, replace(GOOD, breached=True))).state == "breached"
    well = replace(HEALTH, checks=(replace(BAD, value=1.0, breached=False), UNKNOWN))
    assert (well.state, well.healthy, well.unjudged) == ("healthy", True, (UNKNOWN,))


def test_a_check_that_has_a_figure_in_some_segment_is_judged() -> None:
    assert HEALTH.unjudged == (UNKNOWN,)
    assert replace(HEALTH, checks=(UNKNOWN, replace(UNKNOWN, segment="store=1", value=0.8))).unjudged == ()


def test_a_check_of_an_unknown_name_and_a_record_of_another_form_are_refused() -> None:
    with pytest.raises(DataError, match="input_drift"):
        Check("mood", "all", 1.0, 1.0, False, 7, "")
    with pytest.raises(DataError, match="run the monitor stage again"):
        Health.from_dict({"dataset": "x", "checks": [{"name": "bias"}]})
