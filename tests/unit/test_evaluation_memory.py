"""The table of a backtest is the largest thing that is held: what is made of it takes little beside it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from cv_tables import backtest, honest_blend

from storecast import metrics, side_by_side
from storecast.blend import fit_weights
from storecast.conformal import calibrate_folds
from storecast.metrics import naive_scale, score
from storecast.panel import Panel
from storecast.segments import attach, segment_table
from storecast.synthetic import make_panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    """600 series of 200 days."""
    return make_panel(n_stores=100, n_families=6, n_days=200)


@pytest.fixture(scope="module")
def cv(panel: Panel) -> pd.DataFrame:
    """Three models on three folds: 86,400 rows."""
    return backtest(panel).astype({"unique_id": "category", "model": "category"})


def taken(work: Callable[[], Any]) -> int:
    """Bytes that are taken at most while something is worked out."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_weights_are_chosen_beside_the_table(cv: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = fit_weights(cv)
    monkeypatch.setattr(side_by_side, "ROWS_AT_ONCE", 5_000)
    assert fit_weights(cv) == weights
    assert taken(lambda: fit_weights(cv)) < 0.8 * size(cv)
    assert taken(lambda: honest_blend(cv)) < 2.0 * size(cv)


def test_names_of_models_may_be_categoricals_in_any_order(cv: pd.DataFrame) -> None:
    turned = cv.astype({"model": pd.CategoricalDtype(sorted(cv["model"].cat.categories, reverse=True))})
    texts = cv.astype({"model": str, "unique_id": str})
    assert fit_weights(turned) == fit_weights(cv) == fit_weights(texts)
    pd.testing.assert_frame_equal(
        honest_blend(turned), honest_blend(texts).astype({"unique_id": cv["unique_id"].dtype})
    )


def test_intervals_are_calibrated_beside_the_table(cv: pd.DataFrame, panel: Panel) -> None:
    volumes = segment_table(panel, cv["cutoff"].min())["volume"].astype(str).to_dict()
    assert taken(lambda: calibrate_folds(cv, volumes)) < 1.8 * size(cv)


def test_segments_are_attached_and_scored_beside_the_table(cv: pd.DataFrame, panel: Panel) -> None:
    table = segment_table(panel, cv["cutoff"].min())
    assert taken(lambda: attach(cv, table)) < 0.7 * size(cv)
    assert taken(lambda: score(cv, ["model", "family"], naive_scale(panel))) < 1.5 * size(cv)


def size(cv: pd.DataFrame) -> int:
    return int(cv.memory_usage(deep=True).sum())


def test_the_scale_is_found_for_some_series_at_a_time(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SERIES_AT_ONCE", 50)
    assert taken(lambda: naive_scale(panel)) < 0.3 * panel.y.nbytes
