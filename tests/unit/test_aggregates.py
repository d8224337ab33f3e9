"""Forecasts of sums: coherent at every level, never worse on what is known, honest about what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cv_tables import small_panel, weekday_mean
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast.aggregates import (
    HARM,
    Fold,
    Forecasts,
    Reconciler,
    backtest_tables,
    interval_factors,
    level_scores,
)
from storecast.coherence import Coherence, factor_table, own_forecasts, series_forecasts
from storecast.errors import DataError
from storecast.hierarchy import Hierarchy, aggregated
from storecast.models.base import FitContext
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel

H = 16


def fold(panel: Panel, number: int, low: float = 1.0) -> Fold:
    """The series' weekday means, `low` times as high as they are, and the sums' own naive forecasts."""
    cutoff = panel.dates[panel.n_history - 1 - number * H]
    seen, hierarchy = panel.at(cutoff, H), Hierarchy.of(panel.static)
    points, *variances = series_forecasts(seen.ids, seen.future_dates, weekday_mean(seen).to_frame())
    sums = aggregated(panel, hierarchy).at(cutoff, H)
    own = own_forecasts(SeasonalNaive(NaiveConfig()), sums, hierarchy)
    actual = panel.actuals(cutoff, H)
    return Fold(seen.future_dates, low * points, *variances, *own, cutoff=cutoff, actual=actual)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return small_panel()


@pytest.fixture(scope="module")
def hierarchy(panel: Panel) -> Hierarchy:
    return Hierarchy.of(panel.static)


@pytest.fixture(scope="module")
def folds(panel: Panel) -> list[Fold]:
    """Three folds, the earliest first, whose points are a fifth too low."""
    return [fold(panel, number, low=0.8) for number in (3, 2, 1)]


def errors(hierarchy: Hierarchy, folds: list[Fold], reconciler: Reconciler) -> pd.DataFrame:
    """Errors of each level in each fold, before and after."""
    tables = backtest_tables(hierarchy, folds)
    for table, one in zip(tables, folds, strict=True):
        table["mean"] = one.sums(hierarchy, reconciler.means(hierarchy, one)).ravel()
    scores = level_scores(tables)
    return scores[scores["cutoff"] != "all"].set_index(["cutoff", "level", "kind"])[["wape", "rmsle"]]


def test_without_a_fold_to_show_that_it_helps_nothing_is_reconciled(
    hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    assert Reconciler.fit(hierarchy, folds[:1]).trust == 0, "one fold is chance"
    reconciler = Reconciler.fit(hierarchy, [])
    assert reconciler.lift == reconciler.trust == 0
    np.testing.assert_array_equal(reconciler.means(hierarchy, folds[0]), folds[0].points)


def test_points_that_are_too_low_are_raised_until_the_sums_come_out(
    hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    reconciler = Reconciler.fit(hierarchy, folds[:2])
    assert reconciler.trust > 0
    before, after = folds[2].points.sum(), reconciler.means(hierarchy, folds[2]).sum()
    actual = np.nansum(folds[2].actual)
    assert abs(after - actual) < 0.5 * abs(before - actual)


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), low=st.sampled_from([0.7, 1.0, 1.3]))
def test_no_level_is_worse_on_the_folds_that_chose(
    panel: Panel, hierarchy: Hierarchy, folds: list[Fold], seed: int, low: float
) -> None:
    rng = np.random.default_rng(seed)
    wild = [
        replace(
            one,
            points=one.points * low / 0.8,
            own=one.own * np.exp(rng.normal(0, rng.choice([0.02, 0.2, 1.0]), one.own.shape)),
        )
        for one in folds
    ]
    scores = errors(hierarchy, wild, Reconciler.fit(hierarchy, wild)).unstack("kind")
    for score in ("wape", "rmsle"):
        assert (scores[score, "mean"] <= scores[score, "points"] * (1 + 2 * HARM)).all()


def test_own_forecasts_that_are_nonsense_move_next_to_nothing(
    hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    nonsense = [replace(one, points=one.points / 0.8, own=one.own * 50) for one in folds]
    means = Reconciler.fit(hierarchy, nonsense).means(hierarchy, nonsense[2])
    np.testing.assert_allclose(hierarchy.sums(means), hierarchy.sums(nonsense[2].points), rtol=0.02)


def test_the_total_is_held_while_a_bias_may_be_chance_and_other_levels_gain(
    hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    right = [replace(one, points=one.points / 0.8) for one in folds]
    rng = np.random.default_rng(5)
    noisy = [
        replace(one, points=one.points * np.exp(rng.normal(0, 0.3, (len(one.points), 1)))) for one in right
    ]
    reconciler = Reconciler.fit(hierarchy, noisy)
    assert "total" in reconciler.held
    assert reconciler.trust > 0
    means, points = reconciler.means(hierarchy, noisy[2]), noisy[2].points
    np.testing.assert_allclose(means.sum(axis=0), points.sum(axis=0), rtol=1e-3)
    store = hierarchy.of_level("store_nbr")
    assert np.abs(hierarchy.sums(means) - hierarchy.sums(points))[store].max() > 1


def test_a_fold_is_reconciled_by_the_folds_before_it_alone(hierarchy: Hierarchy, folds: list[Fold]) -> None:
    tables = backtest_tables(hierarchy, folds)
    pd.testing.assert_series_equal(tables[0]["mean"], tables[0]["points"], check_names=False)
    assert tables[0]["upper_80"].isna().all()
    assert tables[2]["upper_95"].notna().all()
    changed = [*folds[:2], replace(folds[2], actual=folds[2].actual * 9)]
    again = backtest_tables(hierarchy, changed)
    columns = ["mean", "lower_80", "upper_80", "lower_95", "upper_95"]
    pd.testing.assert_frame_equal(again[2][columns], tables[2][columns])


def test_errors_are_told_by_level_and_fold(hierarchy: Hierarchy, folds: list[Fold]) -> None:
    tables = backtest_tables(hierarchy, folds)
    scores = level_scores(tables)
    assert list(scores["level"].unique()) == ["total", "store_nbr", "family", "city", "state", "type"]
    assert set(scores["cutoff"]) == {str(one.cutoff.date()) for one in folds} | {"all"}
    told = scores.set_index(["cutoff", "level", "kind"])
    table = tables[2][tables[2]["level"] == "family"]
    expected = (table["mean"] - table["y"]).abs().sum() / table["y"].sum()
    assert told.loc[(str(folds[2].cutoff.date()), "family", "mean"), "wape"] == pytest.approx(expected)
    covered = told.loc[("all", "store_nbr", "mean")]
    assert 0.5 < covered["coverage_80"] <= covered["coverage_95"] <= 1


def test_days_that_were_not_observed_are_left_out_of_both_sides(
    hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    actual = folds[1].actual.copy()
    actual[3, :], actual[:, 5] = np.nan, np.nan
    table = backtest_tables(hierarchy, [folds[0], replace(folds[1], actual=actual)])[1]
    total = table[table["level"] == "total"].reset_index(drop=True)
    assert np.isnan(total.loc[5, ["y", "points", "mean"]].astype(float)).all()
    rest = np.delete(np.arange(len(actual)), 3)
    assert total.loc[0, "points"] == pytest.approx(folds[1].points[rest, 0].sum())
    assert total.loc[0, "own"] < folds[1].own[0, 0]


def coherence(hierarchy: Hierarchy, folds: list[Fold], sums: Panel) -> Coherence:
    """What all folds show, with the naive as the sums' own model."""
    own = SeasonalNaive(NaiveConfig())
    own.fit(sums, FitContext())
    factors = interval_factors(hierarchy, backtest_tables(hierarchy, folds))
    return Coherence(own, Reconciler.fit(hierarchy, folds), factor_table(hierarchy, factors))


def test_a_release_has_a_mean_per_series_and_sums_of_them_that_agree(
    panel: Panel, hierarchy: Hierarchy, folds: list[Fold], tmp_path: Path
) -> None:
    made = coherence(hierarchy, folds, aggregated(panel, hierarchy))
    frame = weekday_mean(panel).to_frame()
    frame["yhat"] *= 0.8
    series, sums = made.forecast(panel, frame)
    pd.testing.assert_frame_equal(series.drop(columns="mean"), frame)
    by_date = series.groupby("ds")["mean"].sum()
    for level in hierarchy.levels:
        mine = sums[sums["level"] == level]
        np.testing.assert_allclose(mine.groupby("ds")["mean"].sum(), by_date, rtol=1e-9)
    store = sums[(sums["level"] == "store_nbr") & (sums["value"] == "2")].set_index("ds")
    mine = series[series["unique_id"].str.startswith("2|")].groupby("ds")
    np.testing.assert_allclose(store["mean"], mine["mean"].sum(), rtol=1e-9)
    np.testing.assert_allclose(store["points"], mine["yhat"].sum(), rtol=1e-9)
    assert (sums["lower_95"] <= sums["lower_80"]).all()
    assert (sums["lower_80"] <= sums["mean"]).all()
    assert (sums["mean"] <= sums["upper_80"]).all()
    made.save(tmp_path / "kept")
    loaded = Coherence.load(tmp_path / "kept").forecast(panel, frame.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(loaded[1], sums)
    pd.testing.assert_frame_equal(loaded[0].sort_index(), series)


def test_a_store_that_the_backtest_did_not_have_gets_its_level_s_widest_interval(
    panel: Panel, hierarchy: Hierarchy, folds: list[Fold]
) -> None:
    made = coherence(hierarchy, folds, aggregated(panel, hierarchy))
    static = panel.static.copy()
    static.loc[static["store_nbr"] == "2", "store_nbr"] = "99"
    _, sums = made.forecast(replace(panel, static=static), weekday_mean(panel).to_frame())
    stores = sums[sums["level"] == "store_nbr"].assign(width=lambda x: (1 + x["upper_80"]) / (1 + x["mean"]))
    widest = stores.groupby("value")["width"].first()
    assert widest["99"] == pytest.approx(made.factors.query("level == 'store_nbr'")["80"].max())


def test_a_bundle_without_it_sums_points_up(panel: Panel, tmp_path: Path) -> None:
    frame = weekday_mean(panel).to_frame()
    series, sums = Coherence.load(tmp_path / "nothing").forecast(panel, frame)
    np.testing.assert_array_equal(series["mean"], series["yhat"])
    np.testing.assert_array_equal(sums["mean"], sums["points"])
    assert sums["upper_80"].isna().all()


def test_a_level_of_too_many_sums_is_not_forecast_by_itself(panel: Panel, hierarchy: Hierarchy) -> None:
    sums = aggregated(panel, hierarchy, most=4)
    assert set(sums.static["level"]) == {"total", "store_nbr", "city", "state", "type"}, "not six families"
    own, variance = own_forecasts(SeasonalNaive(NaiveConfig()), sums, hierarchy)
    families = hierarchy.of_level("family")
    assert np.isnan(own[families]).all()
    assert np.isinf(variance[families]).all()
    assert np.isfinite(own[~families]).all()
    points, *variances = series_forecasts(panel.ids, panel.future_dates, weekday_mean(panel).to_frame())
    told = Forecasts(panel.future_dates, points, *variances, own, variance)
    scale = dict.fromkeys(hierarchy.levels, 1.0)
    means = Reconciler(1.0, 1.0, ("total",), scale).means(hierarchy, told)
    assert np.isfinite(means).all()


def test_forecasts_of_another_panel_are_refused(panel: Panel) -> None:
    frame = weekday_mean(panel).to_frame().iloc[1:]
    with pytest.raises(DataError, match="24 series on 16 dates"):
        series_forecasts(panel.ids, panel.future_dates, frame)
