"""Gradient boosting: better than the naive, the same twice, at ease with odd panels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, get_ident

import numpy as np
import pandas as pd
import pytest
from test_features import weekly_panel

from storecast import features
from storecast.errors import ModelError
from storecast.models.base import FitContext, Forecaster
from storecast.models.booster import (
    FEW_ROWS,
    FEWEST_ROWS,
    BoosterConfig,
    Report,
    side_by_side,
    splitting_column,
    text_of,
    train,
)
from storecast.models.gbm import Gbm, GbmConfig
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.models.recursive import Recursive, RecursiveConfig
from storecast.panel import Panel
from storecast.synthetic import make_panel

HORIZON = 14
BOOSTER = BoosterConfig(rounds=40, learning_rate=0.1, leaves=15, min_rows=20)
CONFIG = GbmConfig(boosters=(BOOSTER,), spread_rounds=20)


@pytest.fixture(scope="module")
def world() -> Panel:
    return make_panel(n_stores=4, n_families=4, n_days=500, horizon=HORIZON)


@pytest.fixture(scope="module")
def panel(world: Panel) -> Panel:
    return world.at(world.dates[world.n_history - 1 - HORIZON], HORIZON)


@pytest.fixture(scope="module")
def model(panel: Panel) -> Gbm:
    model = Gbm(CONFIG)
    model.fit(panel, FitContext())
    return model


def rmsle(actual: np.ndarray, forecast: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.log1p(forecast) - np.log1p(actual)) ** 2)))


def test_it_is_a_forecaster_that_beats_the_seasonal_naive(world: Panel, panel: Panel, model: Gbm) -> None:
    assert isinstance(model, Forecaster)
    actual = world.actuals(panel.cutoff, HORIZON)
    naive = SeasonalNaive(NaiveConfig()).forecast(panel)
    assert rmsle(actual, model.forecast(panel).point) < 0.85 * rmsle(actual, naive.point)


def test_its_quantiles_are_ordered_and_hold_most_actuals(world: Panel, panel: Panel, model: Gbm) -> None:
    forecast = model.forecast(panel)
    actual = world.actuals(panel.cutoff, HORIZON)
    assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
    assert (forecast.quantiles >= 0).all()
    inside = (actual >= forecast.quantiles[:, :, 1]) & (actual <= forecast.quantiles[:, :, 3])
    assert 0.65 < inside.mean() < 0.95


def test_a_saved_model_forecasts_the_same_and_its_bytes_do_not_depend_on_the_run(
    panel: Panel, model: Gbm, tmp_path: Path
) -> None:
    again = Gbm(CONFIG)
    again.fit(panel, FitContext(threads=2))
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, fitted in zip(folders, (model, again), strict=True):
        folder.mkdir()
        fitted.save(folder)
    files = sorted(path.name for path in folders[0].iterdir())
    assert files == ["booster_0_0.txt", "gbm.json", "spread.txt"]
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    loaded = Gbm.load(folders[0]).forecast(panel)
    np.testing.assert_array_equal(loaded.point, model.forecast(panel).point)
    np.testing.assert_array_equal(loaded.quantiles, model.forecast(panel).quantiles)


def test_features_from_the_stage_give_the_same_model_as_features_it_builds(
    world: Panel, panel: Panel, model: Gbm, tmp_path: Path
) -> None:
    features.write(tmp_path, world, [*features.training_cutoffs(world), world.cutoff])
    stored = Gbm(CONFIG)
    stored.fit(panel, FitContext(features=tmp_path))
    np.testing.assert_array_equal(stored.forecast(panel).quantiles, model.forecast(panel).quantiles)


def test_a_fit_holds_no_more_rows_than_it_may_and_still_beats_the_naive(
    world: Panel, panel: Panel, tmp_path: Path
) -> None:
    features.write(tmp_path, world, features.training_cutoffs(world))
    rows = panel.n_series * HORIZON * len(Gbm(CONFIG).feature_cutoffs(panel)) // 3
    model = Gbm(CONFIG.model_copy(update={"most_rows": rows}))
    told = model.fit(panel, FitContext(features=tmp_path)).info
    assert told["rows"] <= rows
    assert told["share of rows"] == pytest.approx(1 / 3, abs=0.001)
    actual = world.y[:, panel.n_history : panel.n_history + HORIZON]
    naive = SeasonalNaive(NaiveConfig())
    naive.fit(panel, FitContext())
    assert rmsle(actual, model.forecast(panel).point) < rmsle(actual, naive.forecast(panel).point)


def test_promoting_more_raises_the_forecast(panel: Panel, model: Gbm) -> None:
    plan = panel.known["onpromotion"].copy()
    plan[:, panel.n_history :] = 0
    quiet = model.forecast(panel.with_known("onpromotion", plan)).point.sum()
    plan = plan.copy()
    plan[:, panel.n_history :] = 11
    assert model.forecast(panel.with_known("onpromotion", plan)).point.sum() > 1.05 * quiet


def test_a_new_series_of_an_unknown_city_still_gets_a_sensible_forecast(panel: Panel, model: Gbm) -> None:
    y, static = panel.y.copy(), panel.static.copy()
    y[0] = np.nan
    static.loc[panel.ids[0], "city"] = "Atlantis"
    odd = model.forecast(replace(panel, y=y, static=static)).point[0]
    usual = model.forecast(panel).point[0]
    assert np.isfinite(odd).all()
    assert 0.2 < odd.sum() / usual.sum() < 5


def test_a_series_that_never_sold_is_forecast_near_zero(panel: Panel) -> None:
    y = panel.y.copy()
    y[1, : panel.n_history] = 0.0
    silent = replace(panel, y=y)
    model = Gbm(CONFIG)
    model.fit(silent, FitContext())
    assert model.forecast(silent).point[1].max() < 0.2


def test_a_panel_too_short_to_learn_from_falls_back_and_says_so(panel: Panel, tmp_path: Path) -> None:
    short = panel.last(9).select(slice(0, 2))
    model = Gbm(CONFIG)
    report = model.fit(short, FitContext())
    assert {f.unique_id for f in report.fallbacks} == set(short.ids)
    forecast = model.forecast(short)
    assert np.isfinite(forecast.quantiles).all()
    model.save(tmp_path)
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(short).point, forecast.point)


def test_a_booster_without_a_cutoff_in_a_short_history_is_left_to_the_others(tmp_path: Path) -> None:
    short = make_panel(n_stores=12, n_families=5, n_days=37, horizon=7).at(pd.Timestamp("2023-07-20"), 7)
    sparse, dense = (BOOSTER.model_copy(update={"step_days": step}) for step in (20, 5))
    model, alone = (Gbm(GbmConfig(boosters=some, spread_rounds=20)) for some in ((sparse, dense), (dense,)))
    assert not len(Gbm(GbmConfig(boosters=(sparse,))).feature_cutoffs(short))
    assert not model.fit(short, FitContext(seed=3)).fallbacks
    alone.fit(short, FitContext(seed=4))
    model.save(tmp_path)
    points = [each.forecast(short).point for each in (model, alone, Gbm.load(tmp_path))]
    np.testing.assert_array_equal(points[0], points[1])
    np.testing.assert_array_equal(points[0], points[2])


def test_where_no_booster_has_rows_enough_the_base_forecasts_and_the_report_says_so(tmp_path: Path) -> None:
    short = make_panel(n_stores=12, n_families=4, n_days=37, horizon=7).at(pd.Timestamp("2023-07-20"), 7)
    few = [BOOSTER.model_copy(update={"step_days": step, "window_days": 8}) for step in (5, 7)]
    model = Gbm(GbmConfig(boosters=tuple(few), spread_rounds=20))
    report = model.fit(short, FitContext())
    assert {f.unique_id for f in report.fallbacks} == set(short.ids)
    assert FEWEST_ROWS <= report.info["rows"] < 2 * FEWEST_ROWS
    assert np.isfinite(model.forecast(short).quantiles).all()
    model.save(tmp_path)
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(short).point, model.forecast(short).point)


def test_a_weekly_panel_without_covariates_is_forecast() -> None:
    panel = weekly_panel()
    model = Gbm(CONFIG)
    model.fit(panel, FitContext())
    assert abs(np.log(model.forecast(panel).point / 20)).max() < 0.4


def test_progress_ends_at_its_total_and_never_steps_back(panel: Panel) -> None:
    seen: list[tuple[int, int]] = []
    Gbm(CONFIG).fit(panel, FitContext(progress=lambda done, total: seen.append((done, total))))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > BOOSTER.rounds


def test_several_boosters_are_averaged_each_with_its_own_cutoffs(panel: Panel, tmp_path: Path) -> None:
    short = BOOSTER.model_copy(update={"window_days": 120, "step_days": 20, "extra_trees": True})
    both = Gbm(GbmConfig(boosters=(BOOSTER, short), spread_rounds=20))
    ones = [Gbm(GbmConfig(boosters=(config,), spread_rounds=20)) for config in (BOOSTER, short)]
    wide, narrow = (one.feature_cutoffs(panel) for one in ones)
    assert both.feature_cutoffs(panel).equals(wide.union(narrow))
    assert len(narrow) < len(wide)
    both.fit(panel, FitContext())
    both.save(tmp_path)
    assert (tmp_path / "booster_1_0.txt").exists()
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(panel).point, both.forecast(panel).point)
    ones[0].fit(panel, FitContext())
    apart = np.log1p(both.forecast(panel).point) - np.log1p(ones[0].forecast(panel).point)
    assert 0 < abs(apart).mean() < 0.2


def test_a_split_booster_has_a_model_for_each_value_of_the_key_with_the_fewest(tmp_path: Path) -> None:
    panel = make_panel(n_stores=8, n_families=3, n_days=300, horizon=HORIZON)
    assert splitting_column(panel) == "family"
    split = BOOSTER.model_copy(update={"split": True, "learns": "level"})
    model = Gbm(GbmConfig(boosters=(split,), spread_rounds=20))
    model.fit(panel, FitContext())
    model.save(tmp_path)
    assert len(list(tmp_path.glob("booster_0_*.txt"))) == 3
    forecast = model.forecast(panel)
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(panel).point, forecast.point)
    one = panel.static["family"].to_numpy() == sorted(panel.static["family"])[0]
    y = panel.y.copy()
    y[~one, : panel.n_history] *= 3.0
    other = Gbm(GbmConfig(boosters=(split,), spread_rounds=20))
    other.fit(replace(panel, y=y), FitContext())
    apart = np.log1p(other.forecast(panel).point) - np.log1p(forecast.point)
    assert abs(apart[one]).mean() < 0.2  # peers' sales are features, so it is not 0
    assert abs(apart[~one]).mean() > 2 * abs(apart[one]).mean()


def test_families_fitted_side_by_side_give_the_same_bytes_and_the_one_who_asks_is_told(
    tmp_path: Path,
) -> None:
    panel = make_panel(n_stores=8, n_families=5, n_days=300, horizon=HORIZON)
    split = BOOSTER.model_copy(update={"split": True})
    config = GbmConfig(boosters=(split,), recursive=RecursiveConfig(rounds=10), spread_rounds=10)
    written: list[dict[str, bytes]] = []
    for threads in (1, 4):
        seen: list[tuple[int, int]] = []
        tellers: set[int] = set()

        def told(done: int, total: int, seen=seen, tellers=tellers) -> None:  # type: ignore[no-untyped-def]
            seen.append((done, total))
            tellers.add(get_ident())

        model = Gbm(config)
        model.fit(panel, FitContext(threads=threads, progress=told))
        assert seen == sorted(seen)
        assert tellers == {get_ident()}
        folder = tmp_path / str(threads)
        folder.mkdir()
        model.save(folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(written[0]) == 5 + 5 + 2
    assert written[0] == written[1]


def test_a_fit_that_fails_beside_others_is_told() -> None:
    def fit(value: str, threads: int, report: Report) -> None:
        report(threads)
        if value == "b":
            raise ValueError(f"no rows of {value}")

    with pytest.raises(ValueError, match="no rows of b"):
        side_by_side(["a", "b", "c"], fit, 2, print)


def test_who_stops_a_fit_does_not_wait_for_those_that_have_not_begun() -> None:
    begun: list[str] = []
    stopped = Event()

    def fit(value: str, threads: int, report: Report) -> None:
        begun.append(value)
        report(threads)
        stopped.wait(30)

    def stop(trees: int) -> None:
        stopped.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([f"family {i}" for i in range(50)], fit, 2, stop)
    assert len(begun) < 50


def test_a_value_that_no_model_knows_is_forecast_by_the_other_boosters() -> None:
    panel = make_panel(n_stores=8, n_families=3, n_days=300, horizon=HORIZON)
    split = BOOSTER.model_copy(update={"split": True})
    model = Gbm(GbmConfig(boosters=(BOOSTER, split), spread_rounds=20))
    model.fit(panel, FitContext())
    static = panel.static.copy()
    static.loc[panel.ids[0], "family"] = "unheard of"
    odd = model.forecast(replace(panel, static=static)).point[0]
    assert 0.2 < odd.sum() / model.forecast(panel).point[0].sum() < 5


def recursive(rounds: int = 40) -> GbmConfig:
    """A booster of the table, and one of the next day."""
    one = RecursiveConfig(rounds=rounds, learning_rate=0.1, leaves=15)
    return CONFIG.model_copy(update={"recursive": one})


def test_a_recursive_booster_is_one_more_whose_forecasts_are_fed_back(
    world: Panel, panel: Panel, model: Gbm, tmp_path: Path
) -> None:
    both = Gbm(recursive())
    both.fit(panel, FitContext())
    both.save(tmp_path)
    forecast = both.forecast(panel)
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(panel).quantiles, forecast.quantiles)
    actual = world.actuals(panel.cutoff, HORIZON)
    alone = both._need().recursive
    assert alone is not None
    middle = (np.log1p(model.forecast(panel).point) + alone.predict(panel)) / 2
    np.testing.assert_allclose(np.log1p(forecast.point), middle, atol=0.05)  # below 0 counts as 0
    assert rmsle(actual, forecast.point) < rmsle(actual, np.expm1(alone.predict(panel)))
    rows = np.array([5, 2])
    some = both.forecast_rows(panel, rows)
    np.testing.assert_allclose(some.point, forecast.point[rows], rtol=1e-9)


def fed_back(panel: Panel, **config: int) -> Recursive:
    """A fitted recursive booster."""
    chosen = RecursiveConfig(rounds=40, learning_rate=0.1, leaves=15, **config)
    return Recursive.fit(chosen, panel, features.categories_of(panel), FitContext(), 0, lambda _: None)


@pytest.mark.parametrize(
    ("stores", "most_rows", "models"),
    [(6, 1_000_000, 4), (2, 1_000_000, 1), (4, 3_000, 1)],
    ids=["a model per family", "one model", "one model of some dates"],
)
def test_a_recursive_booster_alone_beats_the_naive_over_the_whole_horizon(
    stores: int, most_rows: int, models: int
) -> None:
    world = make_panel(n_stores=stores, n_families=4, n_days=500, horizon=HORIZON)
    panel = world.at(world.dates[world.n_history - 1 - HORIZON], HORIZON)
    found = fed_back(panel, most_rows=most_rows)
    assert len(found.models) == models
    actual = world.actuals(panel.cutoff, HORIZON)
    naive = SeasonalNaive(NaiveConfig()).forecast(panel).point
    half = HORIZON // 2
    for days in (slice(0, half), slice(half, None)):
        told = np.expm1(found.predict(panel)[:, days])
        assert rmsle(actual[:, days], told) < 0.9 * rmsle(actual[:, days], naive[:, days])


def test_with_next_to_nothing_to_learn_from_there_is_no_model_to_feed_back(panel: Panel) -> None:
    found = fed_back(panel, most_rows=1)
    assert not found.models
    assert np.isnan(found.predict(panel)).all()


def test_a_recursive_booster_leaves_new_series_to_the_others_and_bears_unknown_values() -> None:
    panel = make_panel(n_stores=8, n_families=3, n_days=300, horizon=HORIZON)
    model = Gbm(recursive())
    model.fit(panel, FitContext())
    y, static = panel.y.copy(), panel.static.copy()
    y[2, : panel.n_history] = np.nan
    static.loc[panel.ids[1], "family"] = "unheard of"
    odd = model.forecast(replace(panel, y=y, static=static)).point
    usual = model.forecast(panel).point
    for series in (1, 2):
        assert 0.2 < odd[series].sum() / usual[series].sum() < 5
    np.testing.assert_allclose(odd[-1], usual[-1], rtol=0.2)


def test_a_weekly_panel_is_forecast_recursively_too() -> None:
    panel = weekly_panel()
    model = Gbm(recursive())
    model.fit(panel, FitContext())
    assert abs(np.log(model.forecast(panel).point / 20)).max() < 0.4


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"store": 5, "family": 10}, "store"),
        ({"store": 50}, ""),
        ({"store": 1, "family": 50}, ""),
        ({"family": 10, "store": 5, "city": 2}, "store"),
    ],
    ids=["the fewer", "one series each", "a single value", "a city is told by its store"],
)
def test_the_key_to_split_by_is_found(columns: dict[str, int], found: str) -> None:
    panel = make_panel(n_stores=10, n_families=5, n_days=100, horizon=HORIZON)
    number = np.arange(panel.n_series)
    values = {"store": number % 5, "family": number // 5, "city": number % 5 % 2}
    static = pd.DataFrame(
        {name: (values[name] if size > 1 else 0 * number).astype(str) for name, size in columns.items()},
        index=panel.static.index,
    )
    for name, size in columns.items():
        if size == panel.n_series:
            static[name] = number.astype(str)
    assert splitting_column(replace(panel, static=static)) == found


def test_a_few_series_are_forecast_with_the_pairs_that_the_fit_pooled_over() -> None:
    panel = make_panel(n_stores=8, n_families=3, n_days=200, horizon=HORIZON)
    few = panel.select(slice(0, 2))
    assert features.build(few, [few.cutoff]).names != features.build(panel, [panel.cutoff]).names
    model = Gbm(CONFIG)
    model.fit(panel, FitContext())
    assert np.isfinite(model.forecast(few).point).all()


def test_another_data_sets_panel_is_refused_with_the_columns_that_differ(panel: Panel, model: Gbm) -> None:
    with pytest.raises(ModelError, match="transactions"):
        model.forecast(replace(panel, past={}))
    with pytest.raises(ModelError, match="not fitted"):
        Gbm(CONFIG).forecast(panel)


@pytest.mark.parametrize(("rows", "share"), [(FEW_ROWS - 1, 0.6), (FEW_ROWS, 1.0)])
def test_trees_of_a_model_with_few_rows_see_a_share_of_them_and_those_of_others_all(
    rows: int, share: float
) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(rows, 3)).astype(np.float32)
    target, weight = values[:, 0] + random.normal(size=rows), np.ones(rows)

    def grown(config: BoosterConfig) -> str:
        text = text_of(train(config, values, target, weight, ["a", "b", "c"], [], 1, 0, lambda _: None))
        return text.partition("parameters:")[0]

    few = BoosterConfig(rounds=3)
    assert grown(few) == grown(few.model_copy(update={"row_fraction": share}))
    assert grown(few) != grown(few.model_copy(update={"row_fraction": 1.6 - share}))
