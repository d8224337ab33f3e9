"""The library's own Prophet, to hold ours against."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd


@contextmanager
def stock(bends: int, bend_scale: float) -> Iterator[Any]:
    """An unfitted model without seasons of its own, whose fit warns of nothing and logs no lines."""
    import prophet

    model = prophet.Prophet(
        n_changepoints=bends,
        changepoint_prior_scale=bend_scale,
        yearly_seasonality=False,
        weekly_seasonality=False,
        daily_seasonality=False,
        uncertainty_samples=0,
    )
    loggers = [logging.getLogger(name) for name in ("prophet", "cmdstanpy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)
            yield model
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
