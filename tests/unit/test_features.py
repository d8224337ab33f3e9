"""Features: what they say, that they see nothing after the cutoff, and that files give them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storecast import features
from storecast.errors import DataError, StoreError
from storecast.features import files, table
from storecast.features.peers import Peers, telling_pairs
from storecast.features.sums import Kept, RunningMean
from storecast.panel import Panel
from storecast.synthetic import make_panel

HORIZON = 10


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=3, n_families=3, n_days=420, horizon=HORIZON)


def weekly_panel(n_weeks: int = 130, horizon: int = 6) -> Panel:
    rng = np.random.default_rng(3)
    dates = pd.date_range("2020-01-05", periods=n_weeks + horizon, freq="W-SUN")
    y = rng.poisson(20, (4, len(dates))).astype(float)
    y[:, n_weeks:] = np.nan
    ids = np.array(["a|x", "a|y", "b|x", "b|y"], dtype=object)
    static = pd.DataFrame({"shop": list("aabb"), "line": list("xyxy")}, index=ids)
    cutoff = dates[n_weeks - 1]
    return Panel(ids=ids, dates=dates, y=y, static=static, freq="W-SUN", cutoff=cutoff)


def row(table: features.FeatureTable, unique_id: str, ahead: int) -> dict[str, float]:
    """One row's features by name."""
    frame = table.to_frame()
    found = frame[(frame["unique_id"] == unique_id) & (frame["h"] == ahead)]
    assert len(found) == 1
    return dict(found.iloc[0])


@settings(max_examples=25)
@given(
    at=st.integers(0, 419),
    series=st.integers(0, 8),
    later=st.integers(1, 420),
    value=st.one_of(st.none(), st.floats(0, 1e6)),
    past_value=st.floats(-1e6, 1e6),
)
def test_no_feature_changes_when_a_later_target_or_past_only_value_changes(
    panel: Panel, at: int, series: int, later: int, value: float | None, past_value: float
) -> None:
    day = min(at + later, len(panel.dates) - 1)
    y, past = panel.y.copy(), {k: v.copy() for k, v in panel.past.items()}
    y[series, day] = np.nan if value is None else value
    past["transactions"][series, day:] = past_value
    before = features.build(panel, [panel.dates[at]])
    after = features.build(replace(panel, y=y, past=past), [panel.dates[at]])
    np.testing.assert_array_equal(before.values, after.values)


@settings(max_examples=10)
@given(at=st.integers(0, 400))
def test_an_earlier_cutoff_gives_the_same_features_as_the_panel_of_that_day(panel: Panel, at: int) -> None:
    cutoff = panel.dates[at]
    now = features.build(panel, [cutoff])
    then = features.build(panel.at(cutoff, HORIZON), [cutoff])
    assert now.names == then.names
    np.testing.assert_array_equal(now.values, then.values)


def test_features_do_not_depend_on_which_earlier_cutoffs_are_asked_beside_them() -> None:
    long = make_panel(n_stores=2, n_families=2, n_days=900)
    first, last = long.dates[100], long.dates[long.n_history - 1]
    alone, beside = features.build(long, [last]), features.build(long, [first, last])
    np.testing.assert_array_equal(beside.values[beside.cutoff == last.to_datetime64()], alone.values)


def test_levels_are_means_of_the_log_sales_up_to_the_cutoff(panel: Panel) -> None:
    table = features.build(panel, [panel.cutoff])
    got = row(table, str(panel.ids[0]), 3)
    logs = np.log1p(panel.history[0])
    weekdays = logs[[-5 - 7 * k for k in range(6)]]
    assert got["base"] == pytest.approx(weekdays.mean(), abs=1e-4)
    assert got["mean_1w"] + got["base_mean"] == pytest.approx(logs[-7:].mean(), abs=1e-4)
    assert got["weekday_mean_2"] + got["base"] == pytest.approx(weekdays[:2].mean(), abs=1e-4)
    year_ago = logs[-1 - 364 + 3] - logs[-1 - 364 - 27 : -364].mean()
    assert got["year_ago"] == pytest.approx(year_ago, abs=1e-4)


def test_a_season_is_told_by_last_year_and_by_the_series_that_share_two_static_values() -> None:
    panel = make_panel(n_stores=8, n_families=3, n_days=500, horizon=HORIZON)
    static = panel.static
    mine = ((static["family"] == static["family"].iloc[0]) & (static["city"] == "Quito")).to_numpy()
    y, at = panel.y.copy(), panel.n_history - 1
    y[:, : at + 1] = 10.0
    y[mine, at - 363 : at - 343] = 100.0
    table = features.build(replace(panel, y=y), [panel.cutoff])
    lift = np.log1p(100.0) - np.log1p(10.0)
    season = row(table, str(panel.ids[mine][0]), 5)
    assert season["year_ago_gap"] == pytest.approx(lift, abs=1e-4)
    assert season["family_and_city_year_ago_gap"] == pytest.approx(lift, abs=1e-4)
    assert season["city_year_ago"] < lift / 2
    other = row(table, str(panel.ids[~mine][0]), 5)
    assert other["family_and_city_year_ago_gap"] == 0
    assert other["year_growth"] == 0


def test_columns_that_nest_and_pairs_with_a_group_for_each_series_are_not_pooled_over() -> None:
    pairs = telling_pairs(make_panel(n_stores=8, n_families=4, n_days=60, horizon=HORIZON).static)
    assert ("family", "city") in pairs
    assert ("store_nbr", "city") not in pairs
    assert ("store_nbr", "family") not in pairs


def test_promotion_is_seen_on_the_day_and_ahead_but_not_beyond_the_horizon(panel: Panel) -> None:
    promoted = np.zeros(panel.y.shape)
    at = 300
    promoted[0, at + 4] = 9.0
    promoted[0, at + HORIZON + 1 :] = 5.0
    table = features.build(replace(panel, known={"onpromotion": promoted}), [panel.dates[at]])
    name = str(panel.ids[0])
    assert row(table, name, 4)["onpromotion_on_day"] == pytest.approx(np.arcsinh(9), abs=1e-4)
    assert row(table, name, 3)["onpromotion_change_after"] > 0
    assert row(table, name, 5)["onpromotion_change_before"] < 0
    assert row(table, name, HORIZON)["onpromotion_week_ahead"] == pytest.approx(np.arcsinh(9) / 7, abs=1e-4)
    assert row(table, str(panel.ids[1]), 4)["onpromotion_on_day"] == 0


def test_a_series_that_stopped_selling_says_since_when(panel: Panel) -> None:
    y = panel.y.copy()
    y[2, panel.n_history - 12 : panel.n_history] = 0.0
    y[2, panel.n_history - 13] = 4.0
    got = row(features.build(replace(panel, y=y), [panel.cutoff]), str(panel.ids[2]), 1)
    assert got["since_sale"] == 12
    assert got["zeros_1w"] == 1


def test_a_series_without_history_starts_from_the_level_of_its_peers(panel: Panel) -> None:
    y = panel.y.copy()
    y[4] = np.nan
    got = row(features.build(replace(panel, y=y), [panel.cutoff]), str(panel.ids[4]), 1)
    true = np.log1p(panel.history[4, -56:]).mean()
    overall = np.nanmean(np.log1p(y[:, panel.n_history - 56 : panel.n_history]))
    assert abs(got["base"] - true) < abs(overall - true)


def test_a_local_holiday_counts_in_its_city_alone_and_the_next_one_is_counted_down(panel: Panel) -> None:
    day = panel.dates[-1] + pd.Timedelta(days=2)
    events = pd.DataFrame(
        {"ds": [day], "event": ["Fair"], "kind": ["holiday"], "column": ["city"], "value": ["Quito"]}
    )
    table = features.build(replace(panel, events=events), [panel.cutoff]).to_frame()
    last = table[table["h"] == HORIZON].set_index("unique_id")
    quito = (panel.static["city"] == "Quito").to_numpy()
    assert (last["holiday_local_until"][quito] == 2).all()
    assert (last["holiday_local_until"][~quito] == 15).all()
    assert (last["holiday_national_until"] == 15).all()


def test_a_static_value_that_was_not_fitted_has_no_code(panel: Panel) -> None:
    categories = {name: list(values) for name, values in features.categories_of(panel).items()}
    categories["city"].remove("Quito")
    table = features.build(panel, [panel.cutoff], categories=categories)
    unknown = np.isnan(table.column("code_city")).reshape(panel.n_series, -1).all(axis=1)
    assert (unknown == (panel.static["city"] == "Quito").to_numpy()).all()


def test_a_weekly_panel_has_features_too() -> None:
    panel = weekly_panel()
    cutoffs = features.training_cutoffs(panel)
    table = features.build(panel, cutoffs, observed_only=True)
    assert len(cutoffs) == WEEKS_IN_WINDOW
    assert "weekday" not in table.names
    got = row(features.build(panel, [panel.cutoff]), "a|x", 2)
    assert got["base"] == pytest.approx(np.log1p(panel.history[0, -6:]).mean(), abs=1e-4)


WEEKS_IN_WINDOW = 80 - 1  # 560 days of weeks, the cutoff itself not among them


def test_training_cutoffs_of_an_earlier_fold_are_among_those_of_a_later_one(panel: Panel) -> None:
    late = features.training_cutoffs(panel, window_days=300)
    early = features.training_cutoffs(panel.at(panel.dates[390], HORIZON), window_days=200)
    assert len(early) > 20
    assert set(early) <= set(late)
    assert late.max() < panel.cutoff


def test_what_is_written_is_read_back_as_built_and_only_what_was_observed(
    panel: Panel, tmp_path: Path
) -> None:
    cutoffs = [*features.training_cutoffs(panel)[-8:], panel.cutoff]
    assert features.write(tmp_path, panel, cutoffs) == 9 * panel.n_series * HORIZON
    fold = panel.at(panel.dates[410], HORIZON).select(np.array([1, 2, 5]))
    wanted = [c for c in cutoffs if c < fold.cutoff]
    # a fold with fewer series: features of peers come from the panel that was written
    table = features.read(tmp_path, fold, wanted)
    expected = features.build(panel.at(fold.cutoff, HORIZON), wanted, observed_only=True).to_frame()
    expected = expected[expected["unique_id"].isin(fold.ids)].reset_index(drop=True)
    pd.testing.assert_frame_equal(table.to_frame(), expected)
    assert (table.ds <= fold.cutoff.to_datetime64()).all()
    assert list(features.stored_cutoffs(tmp_path)) == cutoffs
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


def test_a_sample_takes_other_series_at_each_cutoff_and_the_same_again_from_a_file_as_when_built(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SERIES_AT_ONCE", 4)  # several row groups to a cutoff
    cutoffs = features.training_cutoffs(panel)[-6:]
    features.write(tmp_path, panel, cutoffs)
    everything = features.read(tmp_path, panel, cutoffs).to_frame()
    half = panel.n_series * HORIZON * len(cutoffs) // 2
    sample = features.Sample.of(panel, len(cutoffs), half, seed=3)
    read = features.read(tmp_path, panel, cutoffs, sample).to_frame()
    built = features.build(panel, cutoffs, observed_only=True, sample=sample).to_frame()
    pd.testing.assert_frame_equal(read, built)
    assert len(everything) * 0.3 < len(read) <= half
    chosen = read.groupby("cutoff")["unique_id"].unique().map(frozenset)
    assert len(set(chosen)) > 1
    whole = read[["unique_id", "cutoff"]].drop_duplicates().merge(everything)
    pd.testing.assert_frame_equal(read, whole[read.columns])  # of a series that is taken, every day
    other = features.build(
        panel, cutoffs, observed_only=True, sample=features.Sample(sample.share, 4)
    ).to_frame()
    assert not other[["unique_id", "ds"]].equals(read[["unique_id", "ds"]])


@given(most=st.integers(1, 10**5), cutoffs=st.integers(1, 500), seed=st.integers(0, 3))
def test_a_sample_never_takes_more_rows_than_asked_for_but_one_series(
    panel: Panel, most: int, cutoffs: int, seed: int
) -> None:
    sample = features.Sample.of(panel, cutoffs, most, seed)
    taken = int(sample.at(panel.cutoff, panel.n_series).sum())
    assert taken >= 1
    assert taken == 1 or taken * panel.horizon * cutoffs <= most
    assert (sample.share == 1.0) == (taken == panel.n_series)


def test_features_that_a_folder_lacks_are_an_error_to_read_and_are_built_when_asked(
    panel: Panel, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"features\.parquet"):
        features.read(tmp_path, panel)
    features.write(tmp_path, panel, [panel.dates[200]])
    with pytest.raises(StoreError, match=str(panel.dates[300].date())):
        features.read(tmp_path, panel, [panel.dates[300]])
    built = features.load_or_build(panel, [panel.dates[300]], tmp_path)
    assert len(built.y) == panel.n_series * HORIZON


def test_a_cutoff_outside_the_history_is_refused(panel: Panel) -> None:
    with pytest.raises(DataError, match="2030-01-01"):
        features.build(panel, [pd.Timestamp("2030-01-01")])
    with pytest.raises(DataError, match="no cutoff"):
        features.build(panel, [])


def test_known_future_covers_every_day_without_a_gap(panel: Panel) -> None:
    names, array = features.known_future(panel)
    assert array.shape == (*panel.y.shape, len(names))
    assert np.isfinite(array).all()
    day = int(panel.dates.get_indexer(pd.DatetimeIndex(["2022-12-25"]))[0])
    assert (array[:, day, names.index("holiday_national")] == 1).all()


@settings(max_examples=60)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), min_size=1, max_size=40),
    last=st.integers(-20, 39),
    n=st.integers(1, 12),
    stride=st.integers(1, 7),
)
def test_a_running_mean_is_the_mean_of_the_values_in_its_window(
    values: list[float | None], last: int, n: int, stride: int
) -> None:
    last = min(last, len(values) - 1)
    array = np.array([[np.nan if v is None else v for v in values]])
    window = [values[last - k * stride] for k in range(n) if last - k * stride >= 0]
    numbers = [v for v in window if v is not None]
    got = RunningMean.of(array, ~np.isnan(array), stride).over(last, n)
    expected = np.mean(numbers) if numbers else np.nan
    assert float(got[0]) == pytest.approx(float(expected), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("span", [1, 13, 10_000])
def test_features_do_not_depend_on_which_cutoffs_share_their_sums(
    span: int, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for world in (make_panel(n_stores=3, n_families=3, n_days=900, horizon=HORIZON), panel, weekly_panel()):
        cutoffs = features.training_cutoffs(world, step_days=9, window_days=200)
        usual = features.build(world, cutoffs)
        with monkeypatch.context() as patched:
            patched.setattr(table, "SPAN_DATES", span)
            assert features.build(world, cutoffs).values.tobytes() == usual.values.tobytes()
        alone = [features.build(world, [cutoff]).values for cutoff in cutoffs]
        assert np.concatenate(alone).tobytes() == usual.values.tobytes()


def test_a_window_that_begins_before_the_sums_is_refused_instead_of_cut() -> None:
    values = np.arange(70.0).reshape(1, -1)
    kept = Kept(week=7, start=60, reach=4)
    sums = kept.sums(3, values[:, kept.first(4) :])
    assert float(sums.over(60, 21)[0]) == values[0, 40:61].sum()
    with pytest.raises(IndexError, match="kept from position 35"):
        sums.over(60, 28)


def test_what_peers_let_expect_is_the_ridge_regression_on_their_static_values(panel: Panel) -> None:
    level = np.random.default_rng(1).normal(3.0, 1.0, panel.n_series)
    level[2] = np.nan
    known = ~np.isnan(level)
    design = pd.get_dummies(panel.static).to_numpy(dtype=float)
    x, centre = design[known], level[known].mean()
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (level[known] - centre))
    found = Peers(panel.static).expected(level)
    np.testing.assert_allclose(found, np.maximum(centre + design @ weights, 0.0), rtol=1e-10)
    np.testing.assert_allclose(Peers(panel.static[[]]).expected(level), centre)
    assert not Peers(panel.static).expected(np.full(panel.n_series, np.nan)).any()
