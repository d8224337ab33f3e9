from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cv_tables import backtest, small_panel, table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storecast import metrics
from storecast.errors import DataError
from storecast.metrics import METRICS, naive_scale, pinball, rmsle, score

amounts = st.integers(0, 10**7).map(lambda hundredths: hundredths / 100)
sales = arrays(np.float64, st.integers(1, 20), elements=amounts)
often = settings(max_examples=40)


@pytest.fixture(scope="module")
def cv() -> pd.DataFrame:
    return backtest(small_panel())


def test_rmsle_is_pooled_over_rows_and_not_a_mean_of_groups() -> None:
    frame = table(np.array([0.0, 10.0, 20.0]), np.array([np.e - 1, 10.0, 20.0]), family=["A", "B", "B"])
    overall = rmsle(frame, ["model"])["rmsle"].iloc[0]
    per_family = rmsle(frame, ["family"]).set_index("family")["rmsle"]
    assert overall == pytest.approx(np.sqrt(1 / 3))
    assert per_family.to_dict() == pytest.approx({"A": 1.0, "B": 0.0})
    assert overall != pytest.approx(per_family.mean())


def test_known_figures_come_out_as_by_hand() -> None:
    frame = table(np.array([10.0, 0.0, 5.0]), np.array([8.0, 2.0, 5.0]))
    row = score(frame, ["model"], pd.Series({"s0": 2.0, "s1": 4.0, "s2": 0.0})).iloc[0]
    assert row["n"] == 3
    assert row["mae"] == pytest.approx(4 / 3)
    assert row["wape"] == pytest.approx(4 / 15)
    assert row["bias"] == pytest.approx(0.0)
    assert row["mase"] == pytest.approx((2 / 2 + 2 / 4) / 2)
    assert row["left_out"] == 1
    assert row["coverage_80"] == pytest.approx(2 / 3)  # the 0 lies below every interval
    assert row["width_95"] == pytest.approx((12 + 3 + 7.5) / 3)


@often
@given(sales)
def test_a_perfect_forecast_has_no_error(y: np.ndarray) -> None:
    frame = table(y, y)
    frame[["q0.025", "q0.1", "q0.9", "q0.975"]] = np.repeat(y[:, None], 4, axis=1)
    row = score(frame, ["model"], pd.Series(1.0, index=frame["unique_id"])).iloc[0]
    assert row["rmsle"] == row["mae"] == row["mase"] == 0
    assert row["coverage_80"] == row["coverage_95"] == 1
    assert row["width_95"] == 0


@often
@given(sales, st.floats(0.1, 100))
def test_scaling_sales_scales_mae_and_leaves_shares_alone(y: np.ndarray, factor: float) -> None:
    yhat = y[::-1].copy()
    scale = pd.Series(1.0, index=[f"s{i}" for i in range(len(y))])
    one = score(table(y, yhat), ["model"], scale).iloc[0]
    other = score(table(y * factor, yhat * factor), ["model"], scale * factor).iloc[0]
    assert other["mae"] == pytest.approx(one["mae"] * factor, rel=1e-9, abs=1e-9)
    for name in ("wape", "bias", "mase", "quantile_loss"):
        assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9, nan_ok=True)


@often
@given(st.lists(st.tuples(amounts, amounts), min_size=2, max_size=20))
def test_groups_add_up_to_the_whole(pairs: list[tuple[float, float]]) -> None:
    y, yhat = np.array(pairs).T
    frame = table(y, yhat, half=np.arange(len(y)) % 2)
    whole = score(frame, ["model"]).iloc[0]
    parts = score(frame, ["half"])
    weights = parts["n"] / parts["n"].sum()
    assert np.sqrt((weights * parts["rmsle"] ** 2).sum()) == pytest.approx(whole["rmsle"], abs=1e-9)
    assert (weights * parts["coverage_80"]).sum() == pytest.approx(whole["coverage_80"])


@often
@given(amounts, amounts, st.floats(0.01, 0.99))
def test_pinball_loss_is_zero_at_the_actual_and_positive_elsewhere(y: float, q: float, level: float) -> None:
    loss = pinball(np.array([y]), np.array([q]), level)[0]
    assert loss >= 0
    assert (loss == 0) == (y == q)


def test_rows_without_an_actual_do_not_count() -> None:
    frame = table(np.array([3.0, np.nan]), np.array([3.0, 500.0]))
    row = score(frame, ["model"]).iloc[0]
    assert row["n"] == 1
    assert row["rmsle"] == 0


def test_every_grouping_that_the_report_uses_can_be_scored(cv: pd.DataFrame) -> None:
    for by in (
        [],
        ["model"],
        ["model", "store_nbr"],
        ["model", "h"],
        ["model", "volume"],
        ["model", "cutoff"],
    ):
        scores = score(cv, by)
        assert list(scores.columns) == [*by, "n", *METRICS, "left_out"]
        assert scores["n"].sum() == cv["y"].notna().sum()
        assert not scores.duplicated(by).any() if by else len(scores) == 1


def test_the_order_of_rows_does_not_matter(cv: pd.DataFrame) -> None:
    shuffled = cv.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(score(cv, ["model", "volume"]), score(shuffled, ["model", "volume"]))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="yhat"):
        score(table(np.ones(2), np.ones(2)).drop(columns="yhat"), ["model"])
    with pytest.raises(DataError, match="colour"):
        rmsle(table(np.ones(2), np.ones(2)), ["colour"])


def test_the_scale_of_mase_is_the_seasonal_naives_error_in_the_history() -> None:
    panel = small_panel()
    scale = naive_scale(panel)
    history = panel.history[5]
    assert scale[panel.ids[5]] == pytest.approx(np.abs(history[7:] - history[:-7]).mean())
    late = panel.first_sale.argmax()
    assert panel.first_sale[late] > 100
    sold = panel.history[late, panel.first_sale[late] :]
    assert scale[panel.ids[late]] == pytest.approx(np.abs(sold[7:] - sold[:-7]).mean())


def test_the_scale_is_the_same_where_a_few_series_are_worked_on_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = naive_scale(small_panel())
    monkeypatch.setattr(metrics, "SERIES_AT_ONCE", 7)
    pd.testing.assert_series_equal(naive_scale(small_panel()), whole)
