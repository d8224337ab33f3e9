"""ARIMA beside statsmodels' SARIMAX and statsforecast's AutoARIMA, per series, from history to intervals.

    python -m benchmarks.arima --data DIR      a sample of Store Sales; without --data a synthetic panel

Ours is a shard: order choice, fit and a forecast of the horizon with five quantiles, with its config of
`configs/model_configs/arima.yaml`. The peers get log sales of the same dates, one series after the other, and
give mean and 95 % interval: SARIMAX (1,1,1)(0,1,1)7 with its defaults, AutoARIMA with a season of 7 and its
defaults. What each takes and reaches with the promotion as a regressor is told beside it. All run on one
thread. Ours is timed before and after each peer, since a machine's pace changes within minutes.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import Bars
from benchmarks.sample import Case, case, command, ended, timed, whole_panel
from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext
from storecast.models.catalogue import load_spec
from storecast.panel import Floats

SEASON = 7
TIMES = 20


@dataclass(frozen=True)
class Logs:
    """One series as a peer gets it: log(1 + y) without gaps, and the promotion of history and future."""

    y: Floats
    promotion: Floats | None

    @property
    def ahead(self) -> int:
        """Dates to forecast, where there is a promotion."""
        return 0 if self.promotion is None else len(self.promotion) - len(self.y)


def main() -> int:
    """Measure and print; the exit code."""
    parser = command("arima", __doc__, 100)
    parser.add_argument("--sarimax", type=int, default=50, help="of these SARIMAX gets so many (50)")
    parser.add_argument("--auto", type=int, default=20, help="of these AutoARIMA gets so many (20)")
    parser.add_argument("--long", type=int, default=4, help="and so many with their whole history (4)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        whole = case(whole_panel(options.data, Path(temporary) / "panel"), options.series)
    bars = Bars()
    _measure(bars, whole, (options.sarimax, options.auto), options.long)
    return ended(bars, options.json)


def _measure(bars: Bars, whole: Case, counts: Sequence[int], long: int) -> None:
    config = load_spec("arima").config("full")
    if not isinstance(config, ArimaConfig):
        raise TypeError("configs/model_configs/arima.yaml is of another class")
    _shard(config, whole)  # the first in a process pays for imports and memory, as the peers do in _warm
    points, before = _shard(config, whole)
    bars.told(f"ARIMA, shard of {len(points)} series", before, "ms/series")
    peers = (("SARIMAX", sarimax, TIMES), ("AutoARIMA", auto_arima, 1))
    for (name, peer, times), count in zip(peers, counts, strict=True):
        some = whole.select(count)
        _warm(peer, some)
        for promotion in (False, True):
            series = logs(some, config.window, promotion)
            found, seconds = timed(
                lambda peer=peer, series=series, some=some: peers_points(peer, series, some)
            )
            label, theirs = f"{name}{' + promotion' if promotion else ''}", seconds / len(series) * 1e3
            after = _shard(config, whole)[1]
            ours, before = (before + after) / 2, after
            bar = None if promotion else times
            bars.quicker(f"ARIMA, same {config.window} dates", ours, "ms/series", label, theirs, bar)
            score = some.rmsle(points[: len(series)])
            what = f"  RMSLE on {len(series)} series"
            bars.quicker(what, score, "", label, some.rmsle(found), None if promotion else 1)
    if long:
        _long(bars, before, whole.select(long))


def _shard(config: ArimaConfig, whole: Case) -> tuple[Floats, float]:
    """Points (n, H) of a shard, and the milliseconds that a series takes."""
    points, seconds = timed(lambda: _ours(Arima(config), whole))
    return points, seconds / len(points) * 1e3


def _long(bars: Bars, ours: float, few: Case) -> None:
    """SARIMAX on all the history that there is, as its users call it."""
    series = logs(few, few.past.n_history, promotion=False)
    _, seconds = timed(lambda: peers_points(sarimax, series, few))
    count = len(series)
    bars.quicker("ARIMA, whole history given", ours, "ms/series", "SARIMAX", seconds / count * 1e3, TIMES)


def _ours(model: Arima, given: Case) -> Floats:
    model.fit(given.past, FitContext())
    return model.forecast(given.past).point


def logs(given: Case, dates: int, promotion: bool) -> list[Logs]:
    """The series of a case over its last dates, from each one's first sale."""
    last = given.past.last(dates)
    out = []
    for i, start in enumerate(last.first_sale):
        at = int(min(start, last.n_history - 3 * SEASON))
        y = np.log1p(np.nan_to_num(last.history[i, at:]))
        known = sum(np.log1p(np.maximum(x[i, at:], 0.0)) for x in last.known.values())
        out.append(Logs(y, np.asarray(known)[:, None] if promotion and last.known else None))
    return out


def peers_points(
    peer: Callable[[Logs, int], tuple[Floats, Floats]], series: list[Logs], given: Case
) -> Floats:
    """(n, H) sales that a peer expects of each series."""
    horizon = given.past.horizon
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each complains of series that it cannot fit well
        means = [peer(one, horizon)[0] for one in series]
    return np.expm1(np.maximum(means, 0.0))


def sarimax(one: Logs, horizon: int) -> tuple[Floats, Floats]:
    """Mean (H,) and 95 % interval (H, 2) of log sales by statsmodels, everything at its default."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    n = len(one.y)
    past, future = (None, None) if one.promotion is None else (one.promotion[:n], one.promotion[n:])
    model = SARIMAX(one.y, exog=past, order=(1, 1, 1), seasonal_order=(0, 1, 1, SEASON))
    told = model.fit(disp=False).get_forecast(horizon, exog=future)
    return np.asarray(told.predicted_mean), np.asarray(told.conf_int())


def auto_arima(one: Logs, horizon: int) -> tuple[Floats, Floats]:
    """The same by statsforecast: a stepwise search of the order."""
    from statsforecast.models import AutoARIMA

    n = len(one.y)
    varies = one.promotion is not None and np.ptp(one.promotion[:n]) > 0
    past, future = (
        (one.promotion[:n], one.promotion[n:]) if varies and one.promotion is not None else (None, None)
    )
    told: dict[str, Any] = AutoARIMA(season_length=SEASON).forecast(
        one.y, horizon, X=past, X_future=future, level=[95]
    )
    return told["mean"], np.stack([told["lo-95"], told["hi-95"]], axis=1)


def _warm(peer: Callable[[Logs, int], tuple[Floats, Floats]], some: Case) -> None:
    """Imports, and what a peer compiles at its first call."""
    peers_points(peer, logs(some.select(1), 60, promotion=False), some)


if __name__ == "__main__":
    raise SystemExit(main())
