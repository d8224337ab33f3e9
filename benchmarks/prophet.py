"""Prophet beside stock Prophet, per series: fit and forecast of the horizon with intervals.

    python -m benchmarks.prophet --data DIR      a sample of Store Sales; without --data a synthetic panel

Ours is a shard with its config of `configs/model_configs/prophet.yaml`. The peer is `Prophet()` as its users
call it, on log sales, which its RMSLE gains by: fit, then predict with its 1,000 samples. It is given the
whole history, and, told beside it, the same last dates that ours reads. One series after the other, on one
thread.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.bars import Bars
from benchmarks.sample import Case, case, command, ended, timed, whole_panel
from storecast.models.base import FitContext
from storecast.models.catalogue import load_spec
from storecast.models.prophet import Prophet, ProphetConfig
from storecast.panel import Floats

TIMES = 3


def main() -> int:
    """Measure and print; the exit code."""
    parser = command("prophet", __doc__, 100)
    parser.add_argument("--peer-series", type=int, default=40, help="of these the peer gets so many (40)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        whole = case(whole_panel(options.data, Path(temporary) / "panel"), options.series)
    bars = Bars()
    _measure(bars, whole, min(options.peer_series, options.series))
    return ended(bars, options.json)


def _measure(bars: Bars, whole: Case, count: int) -> None:
    config = load_spec("prophet").config("full")
    if not isinstance(config, ProphetConfig):
        raise TypeError("configs/model_configs/prophet.yaml is of another class")
    _ours(config, whole.select(10))  # what is imported once
    points, seconds = timed(lambda: _ours(config, whole))
    ours, some = seconds / len(points) * 1e3, whole.select(count)
    bars.told(f"Prophet, shard of {len(points)} series", ours, "ms/series")
    score = some.rmsle(points[:count])
    for dates, label, times in (
        (some.past.n_history, "stock", TIMES),
        (config.window, f"stock, {config.window} dates", None),
    ):
        found, seconds = timed(lambda dates=dates: stock(some, dates))
        bars.quicker("Prophet, whole history given", ours, "ms/series", label, seconds / count * 1e3, times)
        bars.quicker("  its RMSLE", score, "", label, some.rmsle(found), None if times is None else 1)


def _ours(config: ProphetConfig, given: Case) -> Floats:
    model = Prophet(config)
    model.fit(given.past, FitContext())
    return model.forecast(given.past).point


def stock(given: Case, dates: int) -> Floats:
    """(n, H) sales that `Prophet()` expects of each series, from its first sale in the last dates on."""
    import prophet

    last = given.past.last(dates)
    for name in ("cmdstanpy", "prophet"):
        logging.getLogger(name).setLevel(logging.ERROR)
    points = np.zeros((last.n_series, last.horizon))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, start in enumerate(last.first_sale):
            at = int(min(start, last.n_history - last.horizon))
            ds = last.dates[at : last.n_history]
            model = prophet.Prophet()
            model.fit(pd.DataFrame({"ds": ds, "y": np.log1p(last.history[i, at:])}))
            told = model.predict(pd.DataFrame({"ds": last.future_dates}))
            points[i] = np.expm1(np.maximum(told["yhat"].to_numpy(), 0.0))
    return points


if __name__ == "__main__":
    raise SystemExit(main())
