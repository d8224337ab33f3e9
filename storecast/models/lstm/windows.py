"""Training and forecast windows, gathered on the device from wide arrays.

A window is a pair (series, origin): the model reads the `context_weeks` before the origin and forecasts
the dates from the origin on. All arrays are padded on the left by one context of unobserved dates, so
short histories need no special case: what lies before the first date is masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from storecast.calendar import DAYS_PER_YEAR, event_days, fourier, payday_distance
from storecast.models.lstm.arrays import pad, ratio, rolling, take, to_device
from storecast.models.lstm.effects import Effects
from storecast.models.lstm.encoding import Encoding
from storecast.panel import Floats, Panel

MEAN_WEEKS = (1, 2, 4, 8, 26)
"""Weeks of the recent means; the level that a window is measured from is the third of them."""
LEVEL = 2
SAME_DAY_WEEKS = (1, 4, 8, 26)
"""Weeks of the same-weekday means; the forecast starts from the second of them."""
BASE = 1
EVENT_GROUPS: tuple[tuple[tuple[str, ...], bool | None], ...] = (
    (("holiday",), False),
    (("holiday",), True),
    (("bridge", "additional"), None),
    (("event",), None),
    (("workday",), None),
)


@dataclass(frozen=True)
class Batch:
    """Inputs of B windows over H dates.

    Attributes:
        encoder: (B, context_weeks, week · channels) the history, one week per step.
        summary: (B, S) statistics of the history.
        steps: (B, H, D) what is known of each date to forecast.
        base: (B, H) same-weekday mean of log(1 + y), which the network corrects.
        spread: (B, 1) how noisy the series is lately, the unit of the correction.
        effects: (B, H, E) what the planned covariates let expect by their recent effects, in log(1 + y).
        series: (B,) codes; static: (B, n_static) codes.
    """

    encoder: Tensor
    summary: Tensor
    steps: Tensor
    base: Tensor
    spread: Tensor
    effects: Tensor
    series: Tensor
    static: Tensor


def reach(encoding: Encoding, context_weeks: int) -> int:
    """Dates of history that a window's inputs go back to."""
    longest = max(context_weeks, 1 + MEAN_WEEKS[-1], encoding.year_back // encoding.week + 5)
    return longest * encoding.week


class Windows:
    """The wide arrays of a panel on a device, and the windows over them."""

    def __init__(self, panel: Panel, encoding: Encoding, context_weeks: int, device: torch.device) -> None:
        self.week = encoding.week
        self.pad = context_weeks * self.week
        self.horizon = panel.horizon
        self.longest = encoding.horizon
        self.year_back = encoding.year_back
        self.n_history = panel.n_history
        self._device = device
        series, static = encoding.codes(panel)
        self.series = torch.from_numpy(series).to(device)
        self.static = torch.from_numpy(static).to(device)
        logs, seen = _log_history(panel, self.pad)
        self.cold = to_device(device, encoding.cold_levels(panel))
        events = np.stack([event_days(panel, kinds, local=loc) for kinds, loc in EVENT_GROUPS], axis=-1)
        known = np.concatenate([pad(encoding.scaled(panel), self.pad), pad(events, self.pad)], axis=-1)
        self.n_known = len(encoding.known)
        self._known = to_device(device, known)
        past = pad(encoding.scaled_past(panel), self.pad)
        zero = (logs == 0) & (seen > 0)
        encoder = [logs[..., None], seen[..., None], zero[..., None], known[..., : self.n_known + 2], past]
        self._encoder = to_device(device, np.concatenate(encoder, axis=-1))
        self._target = to_device(device, np.stack([logs, seen], axis=-1))
        self._means = to_device(device, _recent(logs, seen, zero, known[..., : self.n_known], self.week))
        self._same_day = to_device(device, _same_day(logs, seen, known[..., : self.n_known], self.week))
        self._effects = Effects(encoding.covered(panel), self.pad, device)
        self._calendar = to_device(device, _calendar(panel.dates, self.week, self.pad))
        self._beside = torch.tensor([-1, 0, 1], device=device)

    def origins(self) -> tuple[int, int]:
        """First and last origin whose horizon is history."""
        return self.week, self.n_history - self.horizon

    def targets(self, rows: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H) log(1 + y) of the dates from the origins on, and 1 where they were observed, else 0."""
        both = take(self._target, rows, self._ahead(origins))
        return both[..., 0], both[..., 1]

    def batch(self, rows: Tensor, origins: Tensor, hidden: Tensor | None = None) -> Batch:
        """The inputs of the windows; `hidden` (B,) marks those whose history is to be blanked out."""
        ahead = self._ahead(origins)
        last = origins + self.pad - 1
        recent = take(self._means, rows, last)
        n = len(MEAN_WEEKS)
        means, counts = recent[:, :n], recent[:, n : 2 * n]
        level = torch.where(counts[:, -1] > 0, means[:, -1], self.cold[rows])
        level = torch.where(counts[:, LEVEL] > 0, means[:, LEVEL], level)[:, None]
        show = torch.ones_like(level) if hidden is None else 1.0 - hidden[:, None].float()
        spread = 0.2 + recent[:, 2 * n : 2 * n + 1] * show
        base, day = self._seasonal(rows, ahead, level, spread, show)
        yearly, shift = self._year_ago(rows, last, ahead, spread, show)
        centred = torch.where(counts > 0, means - level, torch.zeros_like(means)) * show
        observed = torch.log1p(counts[:, -1:]) * show
        effects = self._effects.of(rows, last, ahead, show)
        summary = torch.cat(
            [centred / spread, observed / 5, level / 5, spread, recent[:, 2 * n + 1 :] * show, shift], dim=1
        )
        return Batch(
            encoder=self._history(rows, last, level, spread, show),
            summary=summary,
            steps=torch.cat([day, yearly, effects / spread[..., None], self._future(rows, ahead)], dim=-1),
            base=base,
            spread=spread,
            effects=effects,
            series=self.series[rows],
            static=self.static[rows],
        )

    def _history(self, rows: Tensor, last: Tensor, level: Tensor, spread: Tensor, show: Tensor) -> Tensor:
        """(B, weeks, week · channels)"""
        back = torch.arange(1 - self.pad, 1, device=self._device)
        taken = take(self._encoder, rows, last[:, None] + back)
        value = (taken[..., :1] - level[:, None]) * taken[..., 1:2] / spread[:, None]
        full = torch.cat([value, taken[..., 1:]], dim=-1) * show[:, None]
        return full.reshape(len(rows), self.pad // self.week, -1)

    def _seasonal(
        self, rows: Tensor, ahead: Tensor, level: Tensor, spread: Tensor, show: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, H) base and (B, H, ·) the other same-weekday means, seen from the base."""
        lead = torch.arange(self.horizon, device=self._device)
        taken = take(self._same_day, rows, ahead - self.week * (lead // self.week + 1))
        n = len(SAME_DAY_WEEKS)
        some = (taken[..., n : 2 * n] > 0) & (show > 0)[:, None]
        means = torch.where(some, taken[..., :n], level[:, None])
        base = means[..., BASE]
        others = (means - level[:, None]) / spread[:, None]
        return base, torch.cat([others, some.float(), taken[..., 2 * n :] * show[:, None]], dim=-1)

    def _year_ago(
        self, rows: Tensor, last: Tensor, ahead: Tensor, spread: Tensor, show: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, H, ·) the same days of last year against the level then; (B, 1) how the level rose then."""
        lag = self.year_back
        n = len(MEAN_WEEKS)
        then = take(self._means, rows, (last - lag).clamp(min=0))
        level, seen = then[:, LEVEL : LEVEL + 1], then[:, n + LEVEL : n + LEVEL + 1] > 0
        around = ahead[..., None] - lag + self.week * self._beside
        taken = take(self._target, rows, around.clamp(min=0))
        known = take(self._known, rows, (ahead - lag).clamp(min=0))
        value, some = taken[..., 0], taken[..., 1] * seen[:, None] * show[:, None]
        value = (value - level[:, None]) * some / spread[:, None]
        later = take(self._means, rows, (last - lag + 4 * self.week).clamp(min=0))
        rise = (later[:, LEVEL : LEVEL + 1] - level) * seen * show / spread
        smooth = value.sum(-1, keepdim=True) / some.sum(-1, keepdim=True).clamp(min=1)
        return torch.cat([value[..., 1:2], some[..., 1:2], smooth, known], dim=-1), rise

    def _future(self, rows: Tensor, ahead: Tensor) -> Tensor:
        """(B, H, ·) covariates of the dates themselves and of the dates beside them, calendar and lead."""
        beside = ahead[..., None] + self._beside
        known = take(self._known, rows, torch.minimum(beside, ahead[:, -1:, None]))
        lead = torch.arange(1, self.horizon + 1, device=self._device) / self.longest
        lead = lead.expand(len(rows), self.horizon)[..., None]
        return torch.cat([known.flatten(2), self._calendar[ahead], lead], dim=-1)

    def _ahead(self, origins: Tensor) -> Tensor:
        """(B, H) padded positions of the dates from the origins on."""
        return origins[:, None] + self.pad + torch.arange(self.horizon, device=self._device)


def _log_history(panel: Panel, left: int) -> tuple[Floats, Floats]:
    """(n, left + T) log(1 + y), 0 where not observed, and 1 where observed, else 0."""
    logs = np.full(panel.y.shape, np.nan)
    logs[:, : panel.n_history] = np.log1p(panel.history)
    seen = np.isfinite(logs)
    return pad(np.where(seen, logs, 0.0), left), pad(seen.astype(np.float64), left)


def _recent(logs: Floats, seen: Floats, zero: Floats, known: Floats, week: int) -> Floats:
    """(n, width, ·) at each date: recent means, counts, spread, zero shares, covariates' means."""
    counts = [rolling(seen, w * week) for w in MEAN_WEEKS]
    means = [ratio(rolling(logs, w * week), c) for w, c in zip(MEAN_WEEKS, counts, strict=True)]
    spread = _spread(logs, seen, week)
    zeros = [ratio(rolling(zero * 1.0, w * week), rolling(seen, w * week)) for w in (1, 4)]
    last = ratio(rolling(logs, min(3, week)), rolling(seen, min(3, week))) - means[LEVEL]
    table = np.stack([*means, *counts, spread, *zeros, last], axis=-1)
    return np.concatenate([table, rolling(known, 4 * week) / (4 * week)], axis=-1)


def _spread(logs: Floats, seen: Floats, week: int) -> Floats:
    """(n, width) root mean square over 8 weeks of the difference to the mean of the same days before."""
    before = ratio(rolling(logs, 4, week), rolling(seen, 4, week))
    both = seen.copy()
    both[:, week:] *= rolling(seen, 4, week)[:, :-week] > 0
    both[:, :week] = 0.0
    error = np.zeros_like(logs)
    error[:, week:] = (logs[:, week:] - before[:, :-week]) * both[:, week:]
    return np.sqrt(ratio(np.maximum(rolling(error**2, 8 * week), 0.0), rolling(both, 8 * week)))


def _same_day(logs: Floats, seen: Floats, known: Floats, week: int) -> Floats:
    """(n, width, ·) at each date: means over it and the same days of earlier weeks, counts, covariates."""
    counts = [rolling(seen, w, week) for w in SAME_DAY_WEEKS]
    means = [ratio(rolling(logs, w, week), c) for w, c in zip(SAME_DAY_WEEKS, counts, strict=True)]
    weeks = SAME_DAY_WEEKS[BASE]
    return np.concatenate(
        [np.stack([*means, *counts], axis=-1), rolling(known, weeks, week) / weeks], axis=-1
    )


def _calendar(dates: pd.DatetimeIndex, week: int, left: int) -> Floats:
    """(left + T, ·) weekday (daily panels), season of the year, paydays."""
    since, until = payday_distance(dates)
    parts: list[Floats] = [fourier(dates, DAYS_PER_YEAR, 2)]
    parts.append(np.stack([since / 15, until / 15, since == 0, since == 1], axis=1))
    if week > 1:
        parts.append(np.eye(week)[dates.day_of_week.to_numpy()])
    return np.pad(np.concatenate(parts, axis=1), ((left, 0), (0, 0)))
