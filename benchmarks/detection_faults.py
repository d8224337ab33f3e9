"""Faults to put into a panel from a day on, and a cheap real forecaster that is served meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from storecast.models.base import forecast_from_log
from storecast.monitor.served import Activation, served_rows
from storecast.panel import Floats, Panel

EVERY, WEEKS = 7, 6
"""Days between two releases; same weekdays whose median is the level."""

CARRIED = 0.6
"""How much of what the season did a year ago is expected again."""

Fault = Callable[[Panel, int, np.ndarray], Panel]


def seasonal_median(panel: Panel, families: np.ndarray) -> pd.DataFrame:
    """A robust seasonal naive: median of the last six same weekdays, moved by what the family did in the same
    week a year ago; dates that were closed a year ago stay closed. The spread is that of the last errors."""
    logs = np.log1p(np.nan_to_num(panel.history))
    last = panel.n_history - 1
    out = np.empty((panel.n_series, panel.horizon))
    for ahead in range(panel.horizon):
        at = last + 1 + ahead
        date = panel.dates[at] - pd.DateOffset(years=1)
        same = int(panel.dates.get_indexer(pd.DatetimeIndex([date]))[0])
        if 0 <= same <= last and (logs[:, same] == 0).mean() > 0.9:
            out[:, ahead] = 0.0
        else:
            out[:, ahead] = np.maximum(
                _level(logs, last, at) + CARRIED * _a_year_ago(logs, at, families), 0.0
            )
    errors = logs[:, -56:] - logs[:, -63:-7]
    return forecast_from_log(panel, out, np.tile(errors.std(axis=1)[:, None], panel.horizon)).to_frame()


def _level(logs: Floats, last: int, at: int) -> Floats:
    back = ((at - last - 1) // 7 + 1) * 7
    return np.asarray(np.median(logs[:, [at - back - 7 * k for k in range(WEEKS)]], axis=1))


def _a_year_ago(logs: Floats, at: int, families: np.ndarray) -> Floats:
    ago = at - 364
    if ago - 7 * (WEEKS + 1) < 0 or (logs[:, ago] == 0).mean() > 0.9:
        return np.zeros(len(logs))
    moved = logs[:, ago] - _level(logs, ago - 1, ago)
    by_family = pd.Series(moved).groupby(families).median().clip(-0.7, 0.7)
    return by_family.reindex(families).to_numpy()


def serve(panel: Panel, cutoffs: pd.DatetimeIndex, families: np.ndarray) -> pd.DataFrame:
    """What is served when a release is made at each cutoff and stands until the next; its backtest is what
    the three releases before it would have forecast."""
    made = {cutoff: seasonal_median(panel.at(cutoff, EVERY), families) for cutoff in cutoffs}
    parts = []
    for place, cutoff in enumerate(cutoffs):
        earlier = [_scored(panel, c, made[c]) for c in cutoffs[max(0, place - 3) : place]]
        backtest = pd.concat(earlier) if earlier else None
        first = cutoff + pd.Timedelta(days=1)
        parts.append(served_rows([Activation(str(cutoff.date()), first, made[cutoff], backtest)], panel))
    return pd.concat(parts, ignore_index=True)


def _scored(panel: Panel, cutoff: pd.Timestamp, forecast: pd.DataFrame) -> pd.DataFrame:
    """A release's forecasts as rows of a backtest, beside the naive's."""
    at = pd.Timedelta(days=1) + cutoff
    rows = served_rows([Activation("", at, forecast)], panel)[["unique_id", "ds", "h", "y", "yhat", "naive"]]
    naive = rows.assign(model="naive", yhat=rows["naive"])
    return pd.concat([rows.assign(model="blend"), naive])


@dataclass(frozen=True)
class Injection:
    """A kind of fault with the share of series it is put into; feeds break by sender, sales anywhere."""

    name: str
    fault: Fault
    shares: tuple[float, ...]
    by_sender: bool


def _times(factor: float) -> Fault:
    def apply(panel: Panel, at: int, rows: np.ndarray) -> Panel:
        y = panel.y.copy()
        y[rows, at:] *= factor
        return replace(panel, y=y)

    return apply


def _zeros(panel: Panel, at: int, rows: np.ndarray) -> Panel:
    y = panel.y.copy()
    y[rows, at:] = np.where(np.isnan(y[rows, at:]), np.nan, 0.0)
    return replace(panel, y=y)


def _stuck(panel: Panel, at: int, rows: np.ndarray) -> Panel:
    """Every day is the day before the fault again."""
    y = panel.y.copy()
    y[rows, at:] = np.where(np.isnan(y[rows, at:]), np.nan, y[rows, at - 1][:, None])
    return replace(panel, y=y)


def _promotions(panel: Panel, at: int, rows: np.ndarray) -> Panel:
    """Promotions on what was not promoted, none on what was; promoted days sell 40 % more."""
    y, name = panel.y.copy(), next(iter(panel.known))
    known = panel.known[name].copy()
    before = known[rows, at:] > 0
    known[rows, at:] = np.where(before, 0.0, 20.0)
    y[rows, at:] *= np.where(before, 1 / 1.4, 1.4)
    return replace(panel, y=y, known={**panel.known, name: known})


INJECTIONS = (
    Injection("level shift, x 1.5", _times(1.5), (1.0, 0.3, 0.1), False),
    Injection("level shift, x 0.6", _times(0.6), (1.0, 0.3, 0.1), False),
    Injection("broken feed: zeros", _zeros, (1.0, 0.1, 0.02), True),
    Injection("broken feed: a day again and again", _stuck, (1.0, 0.1, 0.02), True),
    Injection("doubled scale", _times(2.0), (1.0, 0.3, 0.02), True),
    Injection("new promotion pattern", _promotions, (0.5, 0.2, 0.1), False),
)


def chosen(panel: Panel, injection: Injection, share: float, seed: int) -> np.ndarray:
    """Positions of the series that a fault is put into: whole senders, or any series."""
    rng = np.random.default_rng(seed)
    if injection.by_sender:
        senders: Mapping[str, np.ndarray] = panel.static.groupby(panel.static.columns[0]).indices
        count = max(1, round(share * len(senders)))
        names = rng.choice(sorted(senders), count, replace=False)
        return np.sort(np.concatenate([senders[name] for name in names]))
    count = max(1, round(share * panel.n_series))
    return np.sort(rng.choice(panel.n_series, count, replace=False))
