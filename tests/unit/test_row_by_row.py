"""A booster asked row by row says what LightGBM's own `predict` says, to the bit."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from storecast.models.row_by_row import RowByRow

FEATURES = 5
VALUES = st.floats(width=32, allow_infinity=True, allow_nan=True)


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    """Trees over numbers with gaps, one of them a category."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(800, FEATURES)).astype(np.float32)
    rows[:, 4] = rng.integers(0, 6, 800)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    target = np.nan_to_num(rows[:, 0] - rows[:, 1] * (rows[:, 4] == 2)) + rng.normal(size=800) / 10
    data = lightgbm.Dataset(rows, target, categorical_feature=[4], params={"verbosity": -1})
    return lightgbm.train({"num_leaves": 15, "verbosity": -1, "num_threads": 1}, data, 40)


@given(rows=arrays(np.float32, st.tuples(st.integers(0, 8), st.just(FEATURES)), elements=VALUES))
def test_its_forecasts_are_those_of_predict(booster: lightgbm.Booster, rows: NDArray[np.float32]) -> None:
    found = RowByRow(booster).predict(rows)
    wanted = booster.predict(rows, num_threads=1) if len(rows) else np.empty(0)
    np.testing.assert_array_equal(found, wanted)


def test_rows_that_lie_apart_in_memory_are_read_right(booster: lightgbm.Booster) -> None:
    wide = np.random.default_rng(2).normal(size=(12, 2 * FEATURES)).astype(np.float64)
    apart = wide[::2, ::2]
    np.testing.assert_array_equal(
        RowByRow(booster).predict(apart.astype(np.float32)),
        booster.predict(apart.astype(np.float32), num_threads=1),
    )
    np.testing.assert_array_equal(
        RowByRow(booster).predict(np.asfortranarray(apart, dtype=np.float32)),
        booster.predict(apart.astype(np.float32), num_threads=1),
    )


def test_rows_of_another_model_are_refused(booster: lightgbm.Booster) -> None:
    with pytest.raises(ValueError, match="rows have 4 features, the booster has 5"):
        RowByRow(booster).predict(np.zeros((3, 4), dtype=np.float32))


def test_it_outlives_the_name_it_was_made_from(booster: lightgbm.Booster) -> None:
    asked = RowByRow(lightgbm.Booster(model_str=booster.model_to_string()))
    rows = np.zeros((2, FEATURES), dtype=np.float32)
    np.testing.assert_array_equal(asked.predict(rows), booster.predict(rows))
