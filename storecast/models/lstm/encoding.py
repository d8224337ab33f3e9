"""What a fitted LSTM must remember of its panel besides the weights: codes, scales and levels, as JSON."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from storecast.errors import ModelError
from storecast.features.peers import Peers
from storecast.frequency import frequency
from storecast.panel import Floats, Panel

LEVEL_WEEKS = 8
"""Weeks that say what a series' level is."""

CONSTANT = 1e-6
"""Relative spread up to which a covariate did not vary: what is left of rounding."""

UNKNOWN = 0
"""Code of a series or static value that was not there at the fit."""


class Encoding(BaseModel):
    """Names, codes and scales, learnt from a panel's history.

    Attributes:
        freq: frequency of the panel.
        horizon: dates ahead that the model learnt to forecast.
        ids: series, in the order of their codes 1, 2, ...
        static: per static column its values, in the order of their codes 1, 2, ...
        known: per known-future covariate (mean, standard deviation) of its signed logarithm; 0 of one that
            did not vary, of which nothing could be learnt.
        past: the same for the past-only covariates in use.
        level: mean of log(1 + y) over all series.
        effects: per static column and value, how far its series' level lies from `level`: the start of a
            series without history.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    freq: str
    horizon: int
    ids: tuple[str, ...]
    static: dict[str, tuple[str, ...]]
    known: dict[str, tuple[float, float]]
    past: dict[str, tuple[float, float]]
    level: float
    effects: dict[str, dict[str, float]]

    @property
    def week(self) -> int:
        """Dates in a week."""
        return frequency(self.freq).week

    @property
    def year_back(self) -> int:
        """Dates in as many years as bring the horizon and a week back before its origin."""
        year = frequency(self.freq).year
        return year * -(-(self.horizon + self.week) // year)

    @classmethod
    def of(cls, panel: Panel, use_past: bool) -> Encoding:
        """Learn the encoding from the panel's history."""
        static = {str(c): tuple(sorted(panel.static[c].unique())) for c in sorted(panel.static.columns)}
        level, effects = _levels(panel, static)
        end = panel.n_history
        return cls(
            freq=panel.freq,
            horizon=panel.horizon,
            ids=tuple(str(i) for i in panel.ids),
            static=static,
            known={k: _scale(v[:, :end]) for k, v in sorted(panel.known.items())},
            past={k: _scale(v[:, :end]) for k, v in sorted(panel.past.items()) if use_past},
            level=level,
            effects=effects,
        )

    def check(self, panel: Panel) -> None:
        """Raise a ModelError unless the panel can be forecast with this encoding."""
        checks = (
            ("frequency", self.freq, panel.freq, self.freq == panel.freq),
            ("horizon", f"1..{self.horizon}", str(panel.horizon), 1 <= panel.horizon <= self.horizon),
            ("known-future covariates", str(sorted(self.known)), str(sorted(panel.known)),
             set(self.known) <= set(panel.known)),
            ("past-only covariates", str(sorted(self.past)), str(sorted(panel.past)),
             set(self.past) <= set(panel.past)),
            ("static covariates", str(sorted(self.static)), str(sorted(panel.static.columns)),
             set(self.static) <= set(panel.static.columns)),
        )  # fmt: skip
        for name, expected, found, ok in checks:
            if not ok:
                raise ModelError(
                    f"the LSTM was fitted on a panel with another {name}",
                    expected=expected,
                    found=found,
                    cure="fit the model again on this panel",
                )

    def covered(self, panel: Panel) -> Panel:
        """The panel with those known-future and static covariates, in order, that were there at the fit."""
        known = {name: panel.known[name] for name in self.known}
        return replace(panel, known=known, static=panel.static[list(self.static)])

    def codes(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """(n,) code of each series and (n, n_static) codes of its static values; 0 where unknown."""
        series = {name: code for code, name in enumerate(self.ids, start=1)}
        rows = np.array([series.get(str(i), UNKNOWN) for i in panel.ids], dtype=np.int64)
        columns = [
            panel.static[column].map({v: c for c, v in enumerate(values, start=1)}).fillna(UNKNOWN)
            for column, values in self.static.items()
        ]
        table = np.zeros((panel.n_series, len(columns)), dtype=np.int64)
        for k, column in enumerate(columns):
            table[:, k] = column.to_numpy(dtype=np.int64)
        return rows, table

    def cold_levels(self, panel: Panel) -> Floats:
        """(n,) log level expected of each series by its static values alone."""
        out = np.full(panel.n_series, self.level)
        for column, effects in self.effects.items():
            out += panel.static[column].map(effects).fillna(0.0).to_numpy(dtype=np.float64)
        clipped: Floats = np.maximum(out, 0.0)
        return clipped

    def scaled(self, panel: Panel) -> Floats:
        """(n, T, n_known) known-future covariates on the scale learnt at the fit."""
        return _stack([_apply(panel.known[k], s) for k, s in self.known.items()], panel.y.shape)

    def scaled_past(self, panel: Panel) -> Floats:
        """(n, T, n_past) past-only covariates on the scale learnt at the fit, 0 where unknown."""
        seen = np.arange(panel.y.shape[1]) < panel.n_history
        parts = [np.where(seen, np.nan_to_num(_apply(panel.past[k], s)), 0.0) for k, s in self.past.items()]
        return _stack(parts, panel.y.shape)


def _stack(parts: list[Floats], shape: tuple[int, ...]) -> Floats:
    return np.stack(parts, axis=-1) if parts else np.empty((*shape, 0))


def _signed_log(values: Floats) -> Floats:
    return np.sign(values) * np.log1p(np.abs(values))


def _scale(values: Floats) -> tuple[float, float]:
    logs = _signed_log(values)
    logs = logs[np.isfinite(logs)]
    if logs.size == 0:
        return 0.0, 0.0
    mean, spread = float(logs.mean()), float(logs.std())
    return mean, spread if spread > CONSTANT * max(abs(mean), 1.0) else 0.0


def _apply(values: Floats, scale: tuple[float, float]) -> Floats:
    mean, spread = scale
    return (_signed_log(values) - mean) / spread if spread else np.where(np.isnan(values), np.nan, 0.0)


def _levels(panel: Panel, static: dict[str, tuple[str, ...]]) -> tuple[float, dict[str, dict[str, float]]]:
    """The mean of the series' recent levels, and how far each static value lies from it."""
    logs = np.log1p(panel.history[:, -LEVEL_WEEKS * panel.frequency.week :])
    seen = np.isfinite(logs)
    levels = np.nan_to_num(logs).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    peers = Peers(panel.static[list(static)], pairs=())
    mean, effects = peers.effects(np.where(seen.any(axis=1), levels, np.nan))
    return mean, {name: dict(zip(static[name], effects[name].tolist(), strict=True)) for name in static}
