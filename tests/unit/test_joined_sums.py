"""Sums over all partitions: those of one panel, however it is cut."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storecast.partition.sums import Part, joined_sums

HORIZON = 6
CUTOFFS = pd.to_datetime(["2024-03-01", "2024-03-07"])


def retailer(seed: int, series: int) -> tuple[pd.DataFrame, Part]:
    """Static columns, forecasts and a backtest of two folds, of which a tenth of the actuals is not known."""
    random = np.random.default_rng(seed)
    ids = [f"s{n:02d}" for n in range(series)]
    static = pd.DataFrame({"store": random.integers(0, 3, series).astype(str), "item": ids}, index=ids)
    ahead = _days(ids, CUTOFFS[-1] + pd.Timedelta(days=HORIZON))
    ahead["yhat"] = random.gamma(2.0, 5.0, len(ahead))
    ahead["mean"] = ahead["yhat"] * 1.1
    folds = pd.concat([_days(ids, cutoff).assign(cutoff=cutoff) for cutoff in CUTOFFS])
    folds["yhat"] = random.gamma(2.0, 5.0, len(folds))
    folds["y"] = np.where(random.random(len(folds)) < 0.1, np.nan, random.poisson(folds["yhat"]))
    return static, Part(ahead, folds)


def _days(ids: list[str], cutoff: pd.Timestamp) -> pd.DataFrame:
    dates = pd.date_range(cutoff + pd.Timedelta(days=1), periods=HORIZON)
    names = np.repeat(ids, HORIZON)
    h = np.tile(np.arange(1, HORIZON + 1), len(ids))
    return pd.DataFrame({"unique_id": names, "ds": np.tile(dates, len(ids)), "h": h})


def summed(static: pd.DataFrame, whole: Part, ends: list[int]) -> pd.DataFrame:
    """The sums of a panel that is cut after some of its series."""
    names = static.index.to_numpy(dtype=object)
    cut = [part for part in np.split(names, sorted(ends)) if len(part)]

    def of(part: object, frame: pd.DataFrame) -> pd.DataFrame:
        mine = frame[frame["unique_id"].isin(part)]
        return mine.sample(frac=1, random_state=1)  # in no order

    return joined_sums(names, static, (Part(of(p, whole.forecasts), of(p, whole.backtest)) for p in cut))


@given(seed=st.integers(0, 10**6), series=st.integers(4, 12), ends=st.lists(st.integers(1, 11), max_size=3))
def test_however_a_panel_is_cut_its_sums_and_their_intervals_are_the_same(
    seed: int, series: int, ends: list[int]
) -> None:
    static, whole = retailer(seed, series)
    pd.testing.assert_frame_equal(summed(static, whole, ends), summed(static, whole, []))


def test_sums_are_those_of_the_series_and_their_intervals_as_wide_as_the_folds_tell() -> None:
    static, whole = retailer(1, 12)
    sums = summed(static, whole, [5])
    assert set(sums["level"]) == {"total", "store"}, "a column that names each series is no level"
    store = whole.forecasts["unique_id"].map(static["store"]).rename("value")
    for column, of in (("mean", "mean"), ("points", "yhat")):
        expected = whole.forecasts.groupby([store, "ds"])[of].sum()
        got = sums[sums["level"] == "store"].set_index(["value", "ds"])[column]
        pd.testing.assert_series_equal(got, expected, check_names=False)
    known = whole.backtest[whole.backtest["y"].notna()]
    both = known.groupby(["cutoff", "ds"])[["y", "yhat"]].sum()
    misses = np.sort(np.abs(np.log1p(both["y"]) - np.log1p(both["yhat"])))
    factor = np.exp(misses[int(np.ceil((len(misses) + 1) * 0.8)) - 1])
    total = sums[sums["level"] == "total"]
    assert total["upper_80"].to_numpy() == pytest.approx((1 + total["mean"].to_numpy()) * factor - 1)
    assert total["lower_80"].to_numpy() == pytest.approx((1 + total["mean"].to_numpy()) / factor - 1)


def test_a_sum_of_which_nothing_is_known_in_a_fold_tells_nothing_of_it() -> None:
    static, whole = retailer(2, 8)
    first = whole.backtest["cutoff"] == CUTOFFS[0]
    blank = whole.backtest.assign(y=whole.backtest["y"].mask(first))
    got = summed(static, Part(whole.forecasts, blank), [3])
    wanted = summed(static, Part(whole.forecasts, whole.backtest[~first]), [3])
    pd.testing.assert_frame_equal(got, wanted)


def test_a_backtest_of_series_that_are_no_more_tells_of_those_that_are() -> None:
    static, whole = retailer(3, 8)
    gone = whole.backtest[whole.backtest["unique_id"] == "s00"].assign(unique_id="gone", y=1e9)
    more = Part(whole.forecasts, pd.concat([whole.backtest, gone]))
    names = static.index.to_numpy(dtype=object)
    pd.testing.assert_frame_equal(joined_sums(names, static, [more]), joined_sums(names, static, [whole]))
