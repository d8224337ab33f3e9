"""What the past says at a cutoff: levels, weekdays, promotions, zeros, peers, and the year before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from storecast.features.outlook import (
    COURSE_WEEKS,
    OF_PEERS,
    Columns,
    Course,
    Experience,
    Outlook,
    pooled_name,
)
from storecast.features.peers import Pair, Peers
from storecast.features.sums import Kept, RunningMean, RunningSum
from storecast.panel import Floats, Panel

WEEK_WINDOWS = (1, 2, 4, 8, 16, 52)
"""Windows of the rolling means, in weeks."""
SAME_WEEKDAY = (1, 2, 4, 8, 16)
"""Numbers of same weekdays whose mean is a feature."""
BASE_WEEKS = 6
EFFECT_WEEKS = (6, 26)
"""Windows over which the effect of a known-future covariate is estimated, in weeks."""
EFFECT_RIDGE = 0.02
"""Variance of the covariate, per date, at which an estimated effect is halved."""
REACH_WEEKS = max(WEEK_WINDOWS) + 9
"""No feature but the time since a sale looks further back than this."""
ZERO_WEEKS = (1, 2, 8, 52)
SPREAD_WEEKS = (2, 8)
SELLING_WEEKS = 8
WITH_WEEKS, WITHOUT_WEEKS = 16, 8
PAST_WEEKS = 8
LONG_AGO = 400.0


class Past:
    """The history of a panel, prepared so that the features of any cutoff are a few look-ups.

    All levels are means of log(1+y). Apart from `base`, the recent level of the same weekday, they are
    differences to `base`, so that what is learnt of one series holds for a larger one.

    Args:
        panel: the history, and the known future.
        pairs: pairs of static columns over which to pool; None: by the panel.
        start: position of the first cutoff that is asked for; None: any. What lies too far before it to
            matter takes no memory.
        until: position of the last date that is asked about; None: the panel's last. What comes later takes
            no memory.
    """

    def __init__(
        self,
        panel: Panel,
        pairs: Sequence[Pair] | None = None,
        start: int | None = None,
        until: int | None = None,
    ) -> None:
        self.panel = panel
        self.week = panel.frequency.week
        kept = Kept(self.week, start, REACH_WEEKS)
        self._first = first = kept.first(REACH_WEEKS)
        end = len(panel.dates) if until is None else until + 1
        history = panel.history[:, :end]
        self.last_sale, self.first_sale = _sales(history, first)
        y = history[:, first:]
        seen = ~np.isnan(y)
        logs = np.log1p(np.maximum(np.nan_to_num(y), 0.0))
        sold = seen & (logs > 0)
        total, count = RunningSum(logs, first=first), RunningSum(seen, first=first)
        self.level = RunningMean(total, count)
        self.square = RunningMean(kept.sums(max(SPREAD_WEEKS), logs**2), count)
        self.weekly = kept.means(max(SAME_WEEKDAY) + 1, logs, seen, self.week)
        self.zeros = RunningMean(kept.sums(max(ZERO_WEEKS), seen & ~sold), count)
        self.selling = RunningMean(total, kept.sums(SELLING_WEEKS, sold))
        self.covariates = {
            name: _CovariateMeans(x[:, first:end], logs, seen, self.level, count, kept)
            for name, x in panel.known.items()
        }
        self.past_only = {}
        for name, x in panel.past.items():
            known = x[:, first : history.shape[1]]
            self.past_only[name] = kept.means(PAST_WEEKS, np.arcsinh(known), ~np.isnan(known))
        self.peers = Peers(panel.static, pairs)

    def outlook(self, at: int, horizon: int) -> Outlook:
        """What is needed to tell, at this cutoff position, the features of another known future."""
        ahead = np.arange(1, horizon + 1)
        mid = self._base(at, self._same(at, ahead), self.level.over(at, 4 * self.week)).mean(axis=1)
        done = {name: x.experience(at, self.week, self.peers) for name, x in self.covariates.items()}
        return Outlook(self.panel, at, ahead, self.week, mid, self.peers, done)

    def columns(self, at: int, horizon: int) -> Columns:
        """Features at cutoff position `at`: arrays that broadcast to (n, horizon)."""
        ahead = np.arange(1, horizon + 1)
        same = self._same(at, ahead)
        month = self.level.over(at, 4 * self.week)
        base = self._base(at, same, month)
        mid = base.mean(axis=1)
        out: Columns = {"base": base, "base_mean": mid[:, None]}
        out |= self._levels(at, mid)
        for n in SAME_WEEKDAY:
            out[f"weekday_mean_{n}"] = self.weekly.over(same, n) - base
        out["weekday_effect"] = base - mid[:, None]
        out |= self._zeros(at)
        out |= self._promotions(at, ahead, mid)
        out |= self._year_ago(at, ahead, mid)
        out |= self._peers(out, same, month)
        for name, means in self.past_only.items():
            recent = means.over(at, self.week)
            out[f"{name}_mean_week"] = recent[:, None]
            out[f"{name}_trend"] = (recent - means.over(at, PAST_WEEKS * self.week))[:, None]
        return out

    def _same(self, at: int, ahead: NDArray[np.int64]) -> NDArray[np.int64]:
        """(H,) the last position up to `at` of the same weekday as each date ahead."""
        return np.asarray(at + ahead - self.week * -(-ahead // self.week))

    def _base(self, at: int, same: NDArray[np.int64], month: Floats) -> Floats:
        """(n, H) recent level of the same weekday; without a history that of the peers."""
        base = self.weekly.over(same, BASE_WEEKS)
        base = np.where(np.isnan(base), month[:, None], base)
        unknown = np.flatnonzero(np.isnan(base[:, 0]))
        if len(unknown):
            base[unknown] = self.peers.expected(self.level.over(at, 8 * self.week))[unknown, None]
        return base

    def _levels(self, at: int, mid: Floats) -> Columns:
        out = {"lag_1": self.level.over(at, 1) - mid}
        if self.week > 1:
            out["mean_3"] = self.level.over(at, 3) - mid
        for weeks in WEEK_WINDOWS:
            out[f"mean_{weeks}w"] = self.level.over(at, weeks * self.week) - mid
        out["trend_1w"] = self.level.over(at, self.week) - self.level.over(at - self.week, self.week)
        out["trend_4w"] = self.level.over(at, 4 * self.week) - self.level.over(
            at - 4 * self.week, 4 * self.week
        )
        for weeks in SPREAD_WEEKS:
            mean = self.level.over(at, weeks * self.week)
            variance = self.square.over(at, weeks * self.week) - mean**2
            out[f"sd_{weeks}w"] = np.sqrt(np.maximum(variance, 0.0))
        return {name: values[:, None] for name, values in out.items()}

    def _zeros(self, at: int) -> Columns:
        last = self.last_sale[:, at - self._first]
        first = self.first_sale
        return {
            "since_sale": np.where(last < 0, LONG_AGO, np.minimum(at - last, LONG_AGO))[:, None],
            "since_first_sale": np.where(first > at, np.nan, at - first)[:, None],
            **{f"zeros_{w}w": self.zeros.over(at, w * self.week)[:, None] for w in ZERO_WEEKS},
            "level_when_selling": self.selling.over(at, SELLING_WEEKS * self.week)[:, None],
        }

    def _promotions(self, at: int, ahead: NDArray[np.int64], mid: Floats) -> Columns:
        """Each known-future covariate on the day, around it, and what sales were with and without it."""
        out: Columns = {}
        for name, x in self.covariates.items():
            done = x.experience(at, self.week, self.peers)
            out |= done.columns(name, x.course, at, ahead, mid, self.week)
        return out

    def _year_ago(self, at: int, ahead: NDArray[np.int64], mid: Floats) -> Columns:
        """The same weekday a year ago and the days around it, against the level of that time and of today."""
        then = at - self.panel.frequency.year
        days = np.minimum(then + ahead, at)
        level = self.level.over(then, 4 * self.week)[:, None]
        inside = then + ahead <= at
        on = np.where(inside, self.level.over(days, 1), np.nan)
        near = np.minimum(days + self.week // 2, at)
        around = np.where(inside, self.level.over(near, max(self.week, 3)), np.nan)
        month = self.level.over(then + 4 * self.week, 4 * self.week)[:, None]
        growth = self.level.over(at, 8 * self.week) - self.level.over(then, 8 * self.week)
        return {
            "year_ago": on - level,
            "year_ago_around": around - level,
            "year_ago_month": month - level,
            "year_ago_gap": around - mid[:, None],
            "year_growth": growth[:, None],
        }

    def _peers(self, out: Columns, same: NDArray[np.int64], month: Floats) -> Columns:
        """Means over the series that share a static value: trend, weekday profile, promotions, level.

        Over those that share a pair of values, what tells the coming of a season: a family rises in one
        region while its other stores, and the store's other families, do not.
        """
        trend = (out["trend_1w"], out["mean_1w"] - out["mean_8w"])
        profile = self.weekly.over(same, 8) - month[:, None]
        told = (*trend, profile, month[:, None], out["year_ago_around"], out["zeros_1w"])
        columns: Columns = {}
        for name, peers in self.peers.groups.items():
            columns |= {
                f"{name}_{key}": peers.mean(values) for key, values in zip(OF_PEERS, told, strict=True)
            }
            for known in self.covariates:
                change = peers.mean(out[f"{known}_on_day"] - out[f"{known}_usual"])
                columns[pooled_name(name, known)] = change
        for pair, peers in self.peers.pairs.items():
            name = pair_name(pair)
            columns[f"{name}_trend_8w"] = peers.mean(trend[1])
            columns[f"{name}_year_ago"] = peers.mean(out["year_ago_around"])
            columns[f"{name}_year_ago_gap"] = peers.mean(out["year_ago_gap"])
        return columns


def pair_name(pair: Pair) -> str:
    """How the features of a pair of static columns begin."""
    return f"{pair[0]}_and_{pair[1]}"


def _sales(y: Floats, first: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(n, T - first) position of the last sale up to each date from `first` on, -1 without one; (n,) of the
    first sale, T without one."""
    sold = y > 0
    days = y.shape[1]
    begins = np.where(sold.any(axis=1), sold.argmax(axis=1), days)
    before = sold[:, :first]
    latest = np.where(before.any(axis=1), first - 1 - before[:, ::-1].argmax(axis=1), -1) if first else -1
    positions = np.where(sold[:, first:], np.arange(first, days, dtype=np.int32), np.int32(-1))
    last = np.maximum.accumulate(positions, axis=1)
    return np.maximum(last, np.broadcast_to(latest, len(y))[:, None]).astype(np.int32), begins


class _CovariateMeans:
    """One known-future covariate: its own course, and the sales on dates with and without it."""

    def __init__(
        self,
        x: Floats,
        logs: Floats,
        seen: NDArray[np.bool_],
        level: RunningMean,
        count: RunningSum,
        kept: Kept,
    ) -> None:
        effects = max(EFFECT_WEEKS)
        self.course = Course(kept.cut(COURSE_WEEKS, x), kept.first(COURSE_WEEKS))
        with_it = seen & (x[:, : logs.shape[1]] > 0)
        self.on = kept.means(WITH_WEEKS, logs, with_it)
        self.off = kept.means(WITHOUT_WEEKS, logs, seen & ~with_it)
        some, sold = kept.cut(effects, seen), kept.cut(effects, logs)
        past = np.where(some, np.arcsinh(kept.cut(effects, x)[:, : some.shape[1]]), 0.0)
        first = kept.first(effects)
        self.level = level
        self.seen = RunningMean(RunningSum(past, first=first), count)
        self.product = RunningMean(RunningSum(past * sold, first=first), count)
        self.square = RunningMean(RunningSum(past**2, first=first), count)

    def experience(self, at: int, week: int, peers: Peers) -> Experience:
        """What sales have done with the covariate by a cutoff position."""
        slopes = {weeks: self.slopes(np.array([at]), weeks * week, peers) for weeks in EFFECT_WEEKS}
        on, off = self.on.over(at, WITH_WEEKS * week), self.off.over(at, WITHOUT_WEEKS * week)
        return Experience(on, off, slopes)

    def slopes(self, at: NDArray[np.int64], window: int, peers: Peers) -> tuple[Floats, Columns]:
        """(n, len(at)) each: mean of x over the last `window` dates, and the slopes by what pools them."""
        mean = np.nan_to_num(self.seen.over(at, window))
        covariance = np.nan_to_num(self.product.over(at, window) - mean * self.level.over(at, window))
        variance = np.nan_to_num(self.square.over(at, window)) - mean**2
        slopes = {"own": covariance / (variance + EFFECT_RIDGE)}
        for name, group in peers.groups.items():
            slopes[name] = group.mean(covariance) / (group.mean(variance) + EFFECT_RIDGE)
        return mean, slopes


def recent_slopes(panel: Panel) -> tuple[Floats, NDArray[np.float32], NDArray[np.float32]]:
    """What each known-future covariate has done lately, at each date of the history.

    Returns:
        arcsinh of the covariates, (n, T, K); their means over the last `EFFECT_WEEKS`, (n, n_history, K, W);
        and the slopes of log(1+y) on them within these weeks, (n, n_history, K, W, 1 + groups): the series'
        own first, then pooled over the series that share each static value. A position sees the dates up to
        it and no later one.
    """
    week = panel.frequency.week
    n, end = panel.history.shape
    seen = ~np.isnan(panel.history)
    logs = np.log1p(np.maximum(np.nan_to_num(panel.history), 0.0))
    count = RunningSum(seen)
    level = RunningMean(RunningSum(logs), count)
    peers = Peers(panel.static)
    windows, pools = len(EFFECT_WEEKS), 1 + len(peers.groups)
    x = np.empty((*panel.y.shape, len(panel.known)))
    mean = np.empty((n, end, len(panel.known), windows), dtype=np.float32)
    slope = np.empty((n, end, len(panel.known), windows, pools), dtype=np.float32)
    for k, name in enumerate(sorted(panel.known)):
        means = _CovariateMeans(panel.known[name], logs, seen, level, count, Kept(week))
        x[:, :, k] = means.course.x
        for w, weeks in enumerate(EFFECT_WEEKS):
            mean[:, :, k, w], slopes = means.slopes(np.arange(end), weeks * week, peers)
            for pool, values in enumerate(slopes.values()):
                slope[:, :, k, w, pool] = values
    return x, mean, slope
