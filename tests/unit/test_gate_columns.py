"""The gate where the data set's columns have changed since the champion was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from components.gate import CHAMPION, _beside_champion
from storecast.backtest import cv_rows, fold_cutoffs
from storecast.blend import BLEND
from storecast.bundle import Bundle
from storecast.errors import DataError
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.segments import attach, segment_table
from storecast.store import parquet
from storecast.synthetic import make_panel
from storecast.training_config import NAIVE


def backtest(panel: Panel) -> pd.DataFrame:
    """The rows of two folds with the segments of the panel's static columns."""
    cutoffs, model = fold_cutoffs(panel, 2), SeasonalNaive(NaiveConfig())
    rows = [
        cv_rows(panel, name, cutoff, model.forecast(panel.at(cutoff, panel.horizon)).to_frame())
        for cutoff in cutoffs
        for name in (BLEND, NAIVE)
    ]
    return attach(pd.concat(rows, ignore_index=True), segment_table(panel, cutoffs[0]))


@pytest.mark.parametrize("folds_after", [False, True])
def test_a_static_column_that_was_dropped_from_the_yaml_ends_no_comparison_with_the_champion(
    folds_after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_panel(2, 2, 200, 7)
    now = replace(before, static=before.static.drop(columns="type"))
    fitted_to = before.dates[0] if folds_after else before.cutoff
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps({"fitted_to": str(fitted_to.date())}))
    parquet.write_frame(backtest(before), tmp_path / "backtest.parquet")

    def needs_the_column(folder: Path) -> Bundle:
        del folder
        raise DataError("the panel has no static column 'type'")

    monkeypatch.setattr(Bundle, "load", needs_the_column)
    both = _beside_champion(backtest(now), now, tmp_path)
    assert set(both["model"]) == {BLEND, NAIVE, CHAMPION}
    assert both.groupby("model").size().nunique() == 1
