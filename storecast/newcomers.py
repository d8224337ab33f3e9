"""Series without history: a new store, a new family. Which they are, and what it takes to try them out.

What a forecast of them is worth is found by hiding series that do have a history: all of it, as if they had
never been there, from the fit too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.panel import Floats, Panel

PEER_WEEKS = 8
"""Weeks whose mean says what a series' peers sell."""

Bools = NDArray[np.bool_]


def without_history(
    panel: Panel, cutoff: pd.Timestamp | None = None, rows: slice | NDArray[np.int64] = slice(None)
) -> Bools:
    """(n,) which series, of those at these positions, were not observed on any date up to a cutoff, or the
    panel's."""
    end = panel.n_history if cutoff is None else int(panel.dates.searchsorted(cutoff, side="right"))
    places = np.arange(panel.n_series)[rows]
    new = np.ones(len(places), dtype=bool)
    if end:  # most are known on the last date: no need to look at the others of these
        new = ~np.isfinite(panel.y[places, end - 1])
        new[new] = ~np.isfinite(panel.y[places[new], :end]).any(axis=1)
    return new


def marked(cv: pd.DataFrame, panel: Panel, column: str, mark: str) -> pd.DataFrame:
    """A cv table with a mark instead of their segment for series that had no history at the fold's cutoff."""
    new = {cutoff: panel.ids[without_history(panel, cutoff)] for cutoff in cv["cutoff"].unique()}
    if not any(map(len, new.values())):
        return cv
    segment = cv[column].astype(str)
    for cutoff, ids in new.items():
        segment[(cv["cutoff"] == cutoff) & cv["unique_id"].astype(str).isin(ids)] = mark
    return cv.assign(**{column: segment.astype("category")})


def key_columns(static: pd.DataFrame) -> list[str]:
    """The static columns that no other column tells, as a store tells its city: what a series is named by."""
    sizes = {str(name): static[name].nunique() for name in static.columns}

    def told_by(name: str, other: str) -> bool:
        if sizes[other] <= sizes[name]:
            return False
        return bool((static.groupby(other, observed=True)[name].nunique() <= 1).all())

    return [name for name in sizes if not any(told_by(name, other) for other in sizes if other != name)]


def hidings(panel: Panel, share: float, seed: int) -> dict[str, Bools]:
    """Which series to hide, (n,) each: a share of all; for each key column, all series of some values.

    Args:
        panel: the panel.
        share: of the series, and of each key's values; at least one is hidden and one stays.
        seed: of the choice.

    Returns:
        By "series" and by the names of the key columns that group series.
    """
    rng = np.random.default_rng(seed)
    found = {"series": _chosen(rng, np.arange(panel.n_series), share)}
    for name in key_columns(panel.static):
        codes = pd.factorize(panel.static[name], sort=True)[0]
        if 1 < codes.max() + 1 < panel.n_series:
            found[name] = _chosen(rng, codes, share)
    return found


def hidden(panel: Panel, rows: Bools) -> Panel:
    """The panel as if some series (n,) were new: no sales yet, and of past-only covariates no course that
    only hidden series have (a new store's customers; but not the price of oil)."""
    y = panel.y.copy()
    y[rows] = np.nan
    return replace(panel, y=y, past={name: _unshown(x, rows) for name, x in panel.past.items()})


def peer_mean(panel: Panel) -> Floats:
    """(n, H) the forecast that anyone would make for a new series: what its peers sell on that weekday.

    The mean of log(1+y) over the last weeks and over the series with the same value of a key column: of the
    one that tells levels best (a family, rather than a store) and has series with a history.
    """
    week = panel.frequency.week
    recent = panel.history[:, -PEER_WEEKS * week :]
    recent = np.pad(recent, ((0, 0), (PEER_WEEKS * week - recent.shape[1], 0)), constant_values=np.nan)
    recent = np.log1p(np.maximum(recent, 0.0)).reshape(panel.n_series, PEER_WEEKS, week)
    seen = np.isfinite(recent)
    count = seen.sum(axis=1)
    days = np.where(count > 0, np.where(seen, recent, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
    known = np.isfinite(days).all(axis=1)
    out = np.tile(days[known].mean(axis=0) if known.any() else np.zeros(week), (panel.n_series, 1))
    groups = {name: pd.factorize(panel.static[name])[0] for name in key_columns(panel.static)}
    telling = sorted(groups, key=lambda name: _told(days[known].mean(axis=1), groups[name][known]))
    for name in telling:  # the most telling last: it stands where it has peers
        means = pd.DataFrame(days[known]).groupby(groups[name][known]).mean()
        mine = means.reindex(groups[name]).to_numpy()
        out = np.where(np.isfinite(mine), mine, out)
    return np.asarray(np.expm1(out[:, np.arange(panel.horizon) % week]))


def _chosen(rng: np.random.Generator, codes: NDArray[np.int64], share: float) -> Bools:
    """(n,) the series of a random share of the groups, at least one and not all."""
    size = int(codes.max()) + 1
    count = min(max(1, round(share * size)), max(size - 1, 0))
    return np.isin(codes, rng.choice(size, count, replace=False))


def _unshown(x: Floats, rows: Bools) -> Floats:
    """A past-only covariate without those courses that only the given series have."""
    course = pd.factorize(np.array([line.tobytes() for line in np.nan_to_num(x)], dtype=object))[0]
    gone = rows & ~np.isin(course, course[~rows])
    out = x.copy()
    out[gone] = np.nan
    return out


def _told(level: Floats, codes: NDArray[np.int64]) -> float:
    """Share of the variance of levels that groups explain."""
    groups = pd.Series(level).groupby(codes)
    total = float(((level - level.mean()) ** 2).sum()) if len(level) else 0.0
    between = float((groups.size() * (groups.mean() - level.mean()) ** 2).sum()) if len(level) else 0.0
    return between / total if total > 0 else 0.0
