"""Series played as new: what is hidden, what their peers say, what boosting makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.cold_start import PEERS, cold_start
from storecast.models.base import FitContext
from storecast.models.booster import BoosterConfig
from storecast.models.cold import ColdConfig
from storecast.models.gbm import Gbm, GbmConfig
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.newcomers import hidden, hidings, key_columns, peer_mean, without_history
from storecast.panel import Panel
from storecast.synthetic import make_panel

BOOSTER = BoosterConfig(window_days=200, step_days=20, rounds=30, learning_rate=0.1, leaves=15, min_rows=20)
COLD = ColdConfig(cutoffs=2, booster=BOOSTER)
CONFIG = GbmConfig(boosters=(BOOSTER,), spread_rounds=10, cold=COLD)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=8, n_families=4, n_days=400, horizon=14)


def test_a_store_a_family_and_a_share_of_all_series_are_hidden(panel: Panel) -> None:
    assert key_columns(panel.static) == ["store_nbr", "family"]
    ways = hidings(panel, 0.25, seed=3)
    assert list(ways) == ["series", "store_nbr", "family"]
    assert [int(rows.sum()) for rows in ways.values()] == [8, 8, 8]
    for name in ("store_nbr", "family"):
        values = panel.static[name].to_numpy()
        assert not set(values[ways[name]]) & set(values[~ways[name]]), "all series of a value, or none"
    again = hidings(panel, 0.25, seed=3)
    assert all((again[way] == rows).all() for way, rows in ways.items())


def test_what_is_hidden_leaves_no_trace(panel: Panel) -> None:
    ways = hidings(panel, 0.25, seed=3)
    for way, rows in ways.items():
        new = hidden(panel, rows)
        assert (without_history(new) == rows).all()
        np.testing.assert_array_equal(new.y[~rows], panel.y[~rows])
        customers = np.isfinite(new.past["transactions"][rows]).any()
        assert customers == (way != "store_nbr"), "a new store has no customers yet, a new family's store has"
    assert without_history(panel).sum() == 0, "the panel itself is as it was"


def test_peers_of_a_new_store_are_the_family_s_other_stores(panel: Panel) -> None:
    y = np.where(panel.static["family"].to_numpy()[:, None] == "GROCERY", 100.0, 5.0) + 0 * panel.y
    new = hidden(replace(panel, y=y), hidings(panel, 0.25, seed=3)["store_nbr"])
    expected = np.where(panel.static["family"] == "GROCERY", 100.0, 5.0)
    np.testing.assert_allclose(peer_mean(new), np.tile(expected[:, None], (1, 14)))


def test_peers_of_a_new_family_are_the_store_s_other_families(panel: Panel) -> None:
    level = panel.static["store_nbr"].astype(float).to_numpy()[:, None]
    rows = hidings(panel, 0.25, seed=3)["family"]
    y = np.where(panel.static["family"].to_numpy()[:, None] == "GROCERY", 100 * level, level) + 0 * panel.y
    told = peer_mean(hidden(replace(panel, y=y), rows))[rows]
    assert (np.argsort(told[:, 0]) == np.argsort(level[rows, 0])).all(), "a large store's are larger"


def test_peers_of_everything_are_nobody_and_short_histories_are_no_trouble(panel: Panel) -> None:
    nothing = hidden(panel, np.ones(panel.n_series, dtype=bool))
    assert (peer_mean(nothing) == 0).all()
    assert np.isfinite(peer_mean(panel.last(3))).all()


def test_the_naive_forecasts_a_new_store_by_its_kind_and_others_as_ever(panel: Panel) -> None:
    rows = hidings(panel, 0.25, seed=3)["store_nbr"]
    naive = SeasonalNaive(NaiveConfig())
    told, before = naive.forecast(hidden(panel, rows)), naive.forecast(panel)
    np.testing.assert_array_equal(told.point[~rows], before.point[~rows])
    np.testing.assert_array_equal(told.quantiles[~rows], before.quantiles[~rows])
    actual = np.log1p(panel.history[rows, -14:]).mean(axis=1)
    assert np.corrcoef(np.log1p(told.point[rows]).mean(axis=1), actual)[0, 1] > 0.5
    width = np.log1p(told.quantiles[..., 3]) - np.log1p(told.quantiles[..., 1])
    assert np.median(width[rows]) > 2 * np.median(width[~rows]), "of what is new less is known"


def test_boosting_learns_to_forecast_new_series_and_forecasts_the_others_as_ever(
    panel: Panel, tmp_path: Path
) -> None:
    rows = hidings(panel, 0.25, seed=3)["store_nbr"]
    new = hidden(panel, rows)
    model, plain = Gbm(CONFIG), Gbm(CONFIG.model_copy(update={"cold": None}))
    model.fit(new, FitContext())
    plain.fit(new, FitContext())
    told, without = model.forecast(new), plain.forecast(new)
    np.testing.assert_array_equal(told.point[~rows], without.point[~rows])
    assert not np.array_equal(told.point[rows], without.point[rows])
    assert (np.diff(told.quantiles, axis=2) >= 0).all()
    assert (told.quantiles >= 0).all()
    model.save(tmp_path)
    loaded = Gbm.load(tmp_path)
    np.testing.assert_array_equal(loaded.forecast(new).quantiles, told.quantiles)
    some = np.flatnonzero(rows)[[2, 0]]
    np.testing.assert_array_equal(loaded.forecast_rows(new, some).point, told.point[some])


def test_boosting_learns_of_new_series_where_every_other_one_is_new(panel: Panel) -> None:
    y = panel.y.copy()
    y[1::2, : panel.n_history] = np.nan
    model = Gbm(CONFIG)
    model.fit(replace(panel, y=y), FitContext())
    old, new = (np.log1p(model.forecast(replace(panel, y=y)).point[start::2]).mean() for start in (0, 1))
    assert abs(old - new) < 1


def test_hiding_scores_models_beside_the_mean_of_the_peers() -> None:
    panel = make_panel(n_stores=8, n_families=4, n_days=420, horizon=14)
    cutoff = panel.dates[panel.n_history - 1 - 14]
    models = {"naive": lambda: SeasonalNaive(NaiveConfig()), "gbm": lambda: Gbm(CONFIG)}
    tables = list(cold_start(panel, cutoff, models, share=0.2, seed=1))
    assert [table["hidden"].iloc[0] for table in tables] == ["series", "store_nbr", "family"]
    for table in tables:
        scores = table.set_index("model")["rmsle"]
        assert list(scores.index) == ["naive", "gbm", PEERS, "naive, history seen", "gbm, history seen"]
        assert scores["gbm, history seen"] < scores["gbm"], "a history is worth something"
    share = tables[0].set_index("model")["rmsle"]
    assert share["gbm"] < share[PEERS]
