"""A booster's forecasts of a few rows, without what each call of LightGBM's `Booster.predict` costs.

A recursive model asks every booster on every date for a handful of rows. `Booster.predict` reads its
parameters and sets up a predictor anew each time, which takes longer than the trees of three rows.
LightGBM's C API does that once, and then takes one row per call (`LGBM_BoosterPredictForMatSingleRowFast`);
its answers are the same to the bit.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storecast.panel import Floats

NORMAL, FLOAT32, ALL_TREES = 0, 0, -1
"""LightGBM's numbers for what to predict, for the type of a row's values, and for how many trees."""


class RowByRow:
    """A booster that is asked for one row after the other.

    Args:
        booster: a fitted `lightgbm.Booster`.

    Raises:
        LightGBMError: LightGBM refuses it.
    """

    def __init__(self, booster: Any) -> None:
        self.booster = booster  # it must live as long as the handle below
        self.n_features = int(booster.num_feature())
        self._handle, library = ctypes.c_void_p(), _library()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,
                NORMAL,
                0,
                ALL_TREES,
                FLOAT32,
                ctypes.c_int32(self.n_features),
                b"num_threads=1",
                ctypes.byref(self._handle),
            )
        )
        weakref.finalize(self, library.LGBM_FastConfigFree, self._handle)

    def predict(self, rows: NDArray[np.float32]) -> Floats:
        """(n,) the forecasts of (n, k) rows.

        Raises:
            ValueError: a row does not have the features that the booster was fitted with.
        """
        if rows.shape[1] != self.n_features:
            raise ValueError(f"rows have {rows.shape[1]} features, the booster has {self.n_features}")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        found = np.empty(len(rows))
        ask = _library().LGBM_BoosterPredictForMatSingleRowFast
        row, out, written = rows.ctypes.data, found.ctypes.data, ctypes.byref(ctypes.c_int64())
        for i in range(len(rows)):
            at, to = ctypes.c_void_p(row + i * rows.strides[0]), ctypes.c_void_p(out + i * found.itemsize)
            _check(ask(self._handle, at, written, to))
        return found


def _library() -> Any:
    """LightGBM's C API; importing it takes seconds, which whoever only names the model need not wait for."""
    from lightgbm.libpath import _LIB

    return _LIB


def _check(status: int) -> None:
    if status:
        from lightgbm.basic import LightGBMError

        raise LightGBMError(_library().LGBM_GetLastError().decode())
