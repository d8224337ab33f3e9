from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cv_tables import small_panel

from storecast.errors import DataError
from storecast.panel import Panel
from storecast.segments import VOLUME_CLASSES, VolumeConfig, attach, segment_table, volume_classes


def five_series(freq: str = "D") -> Panel:
    """Series a..e that sell nothing, one in four dates, 5, 50 and 500."""
    dates = pd.date_range("2023-01-01", periods=120, freq=freq)
    levels = np.array([0.0, 1.0, 5.0, 50.0, 500.0])[:, None] * np.ones(120)
    levels[1, np.arange(120) % 4 > 0] = 0
    ids = np.array(list("abcde"), dtype=object)
    static = pd.DataFrame({"store": list("11122")}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids=ids, dates=dates, y=levels, static=static, freq=freq, cutoff=dates[-1])


@pytest.mark.parametrize("freq", ["D", "W-SUN"])
def test_a_series_class_follows_its_volume(freq: str) -> None:
    assert list(volume_classes(five_series(freq))) == list(VOLUME_CLASSES)


def test_nothing_after_the_first_cutoff_changes_a_class() -> None:
    panel = five_series()
    cutoff = panel.dates[99]
    later = panel.y.copy()
    later[:, 100:] = later[::-1, 100:]
    before = segment_table(panel, cutoff)
    after = segment_table(replace(panel, y=later), cutoff)
    pd.testing.assert_frame_equal(before, after)


def test_an_old_sale_outside_the_window_does_not_make_a_series_sell() -> None:
    panel = five_series()
    y = panel.y.copy()
    y[0, 10] = 99.0
    assert volume_classes(replace(panel, y=y))["a"] == "none"
    assert volume_classes(replace(panel, y=y), VolumeConfig(window=120))["a"] == "rare"


def test_dates_that_were_not_observed_do_not_count_as_days_without_sales() -> None:
    panel = five_series()
    y = panel.y.copy()
    y[2, -50:-10] = np.nan
    assert volume_classes(replace(panel, y=y))["c"] == "low"


def test_segments_are_attached_by_series_and_keep_their_order() -> None:
    panel = five_series()
    table = segment_table(panel, panel.cutoff)
    cv = attach(pd.DataFrame({"unique_id": ["e", "a", "e"]}), table)
    assert list(cv["volume"]) == ["high", "none", "high"]
    assert list(cv["store"]) == ["2", "1", "2"]
    assert list(cv["volume"].cat.categories) == list(VOLUME_CLASSES)


def test_a_series_without_a_segment_is_named() -> None:
    table = segment_table(small_panel(), small_panel().cutoff)
    with pytest.raises(DataError, match="'ghost'"):
        attach(pd.DataFrame({"unique_id": ["ghost"]}), table)
