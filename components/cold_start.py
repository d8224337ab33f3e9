"""What forecasts of series without history are worth: hide some that have one, and see.

Not a stage: `python -m benchmarks.cold_start` prints what this finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from storecast.metrics import squared_log_error
from storecast.models.base import FitContext, Forecaster
from storecast.newcomers import hidden, hidings, peer_mean
from storecast.panel import Floats, Panel

PEERS = "peer mean"
"""Name of the forecast that needs no model (`storecast.newcomers.peer_mean`)."""

SEEN = ", history seen"
"""Ending of a model's name where nothing was hidden from it: what is lost for want of a history."""


def cold_start(
    panel: Panel,
    cutoff: pd.Timestamp,
    models: Mapping[str, Callable[[], Forecaster]],
    *,
    share: float = 0.1,
    seed: int = 0,
    threads: int = 1,
    seen: bool = True,
    ways: Sequence[str] = (),
) -> Iterator[pd.DataFrame]:
    """Hide all history of some series, fit, forecast them, and score what they sold.

    Args:
        panel: knows what came after the cutoff.
        cutoff: of the fold.
        models: makers of unfitted models by name.
        share: of the series to hide, and of the stores, and of the families: see
            `storecast.newcomers.hidings`.
        seed: of the choice and of the fits.
        threads: that a fit may use.
        seen: also forecast the same series by the same models fitted to all of their history.
        ways: of hiding, of those that `hidings` gives; none: all of them.

    Yields:
        For each way of hiding the columns `hidden, series, model, rmsle`: pooled over the hidden series'
        rows.
    """
    whole = panel.at(cutoff, panel.horizon)
    actual = panel.actuals(cutoff, panel.horizon)
    context = FitContext(seed=seed, threads=threads)
    known = {f"{name}{SEEN}": _points(make(), whole, context) for name, make in models.items() if seen}
    for way, rows in hidings(whole, share, seed).items():
        if ways and way not in ways:
            continue
        new = hidden(whole, rows)
        found = {name: _points(make(), new, context) for name, make in models.items()}
        forecasts = {**found, PEERS: peer_mean(new), **known}
        scores = {name: _rmsle(actual[rows], points[rows]) for name, points in forecasts.items()}
        yield pd.DataFrame(
            {"hidden": way, "series": int(rows.sum()), "model": list(scores), "rmsle": list(scores.values())}
        )


def _points(model: Forecaster, panel: Panel, context: FitContext) -> Floats:
    """(n, H) what a model forecasts that is fitted to a panel."""
    model.fit(panel, context)
    return model.forecast(panel).point


def _rmsle(actual: Floats, points: Floats) -> float:
    known = np.isfinite(actual)
    return float(np.sqrt(squared_log_error(actual[known], points[known]).mean()))
