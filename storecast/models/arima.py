"""ARIMA with regressors, one model per series: log sales = regression + ARIMA(p, 1, q) noise.

The regression (weekly and yearly Fourier terms, paydays, holidays, promotion) is generalised least squares
with a ridge and Huber weights; `storecast.models.arma` estimates and compares the noise. The one
difference lets the level move, as shops do. Of a promotion that lasts it sees no more than the first and the
last day, so what promotions do is told from levels first, and the ridge pulls their effects there instead of
to 0. Each wave of a season of the year counts as far as the series shows it (`storecast.models.evidence`).

Only parameters are kept: to forecast, the history of the panel that is asked about is filtered anew, so a
later cutoff or another promotion plan needs no refit.

Sources: Brockwell and Davis, Introduction to Time Series and Forecasting, 3rd ed.: 3.3 (ARMA forecasts),
6.6 (regression with ARMA errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits

from storecast.errors import ModelError
from storecast.models.arma import START, START_MA, Noise, estimate, innovations
from storecast.models.base import (
    Fallback,
    FitContext,
    FitReport,
    Forecast,
    ModelConfig,
    forecast_from_log,
)
from storecast.models.closures import closures
from storecast.models.evidence import Ridge
from storecast.models.gaps import stand_ins, taken
from storecast.models.parameters import load_parameters, rows_of, save_parameters
from storecast.models.regressors import Regressors, build_regressors, recurring_events
from storecast.panel import Floats, Panel

MIN_SD = 0.02
"""Smallest deviation on the log scale: nothing is certain, not even a zero."""

MAD_TO_SD = 1.4826
FALLBACK = f"exponential smoothing, ARIMA(0,1,1) with parameter {START_MA:g}"
FILE = "arima.arrow"


class ArimaConfig(ModelConfig):
    """Parameters of the ARIMA model; lengths are in dates of the panel."""

    window: int = Field(default=416, ge=30, description="Dates of history used.")
    min_history: int = Field(default=60, ge=20, description="A series on sale for fewer dates falls back.")
    dead_after: int = Field(
        default=28, ge=1, description="A series without sales for so long is over: zeros."
    )
    week_order: int = Field(default=3, ge=0, le=3, description="Fourier order of the week (daily panels).")
    year_order: int = Field(default=6, ge=0, le=12, description="Fourier order of the year.")
    orders: tuple[tuple[int, int], ...] = Field(
        default=((0, 0), (0, 1), (1, 1), (0, 2), (2, 1), (1, 2)),
        min_length=1,
        description="Candidates (p, q).",
    )
    criterion: Literal["aic", "bic"] = Field(default="bic", description="Chooses among the orders.")
    refine: int = Field(default=15, ge=0, description="Iterations of maximum likelihood after the choice.")
    ridge: float = Field(
        default=20.0, gt=0, description="Penalty on regression effects, in days of evidence."
    )
    level_ridge: float = Field(
        default=20.0, gt=0, description="The same for covariates' effects as levels tell them."
    )
    event_ridge: float = Field(
        default=0.5, gt=0, description="The same for events with an effect of their own."
    )
    year_ridge: float = Field(default=0.2, gt=0, description="The same for the season of the year.")
    year_after_days: int = Field(default=300, ge=30, description="Yearly season only after so many days.")
    year_evidence: float = Field(
        default=4.0, ge=0, description="F statistic up to which a season of the year counts as chance."
    )
    clip: float = Field(default=3.0, gt=1, description="Surprises beyond so many deviations weigh no more.")
    reuse_orders: bool = Field(default=True, description="Take the orders chosen at an earlier cutoff.")


@dataclass(frozen=True)
class _Series:
    """What is kept of one series: effects (K,), noise, its deviation; why it fell back, or ""."""

    beta: Floats
    noise: Noise
    sigma: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Effects:
    """How effects are told.

    Attributes:
        penalty: (K,) of each.
        year: (K,) which of them are a wave of the season of the year, for each.
        year_dates: dates of history that can show one.
        config: the model's.
    """

    penalty: Floats
    year: Sequence[NDArray[np.bool_]]
    year_dates: float
    config: ArimaConfig

    def told(self, y: Floats, x: Floats, noise: Noise) -> Floats:
        """(K,) ridge GLS: both sides differenced and whitened by the noise's filter, then Huber weights."""
        white, _ = innovations(np.diff(np.column_stack([x, y]), axis=0), noise, normalize=True)
        a, b = white[:, :-1], white[:, -1]
        rest = b - a @ Ridge.of(a, b, self.penalty).solution
        weight = np.minimum(1.0, self.config.clip * _robust_sd(rest) / np.maximum(np.abs(rest), 1e-12))
        equations = Ridge.of(a, b, self.penalty, weight)
        variance = float(weight @ (b - a @ equations.solution) ** 2) / len(b)
        return equations.shrunken(
            self.year, variance, self.config.year_evidence if len(y) >= self.year_dates else np.inf
        )


@dataclass(frozen=True, eq=False)
class _View:
    """A panel as the model reads it: its last `window` dates.

    Attributes:
        panel: these dates and the future.
        logs: (n, history) log(1 + sales); where a day is closed or not observed, that of one before it.
        start: (n,) position of the first sale.
        closed: (n, T) days on which a series never sells.
        regressors: of all dates; a covariate that closes a series is that of the same day as its sales.
    """

    panel: Panel
    logs: Floats
    start: NDArray[np.int64]
    closed: NDArray[np.bool_]
    regressors: Regressors


class Arima:
    """Regression with ARIMA(p, 1, q) noise per series; see the module's docstring."""

    scope: ClassVar[Literal["local", "global"]] = "local"
    Config: ClassVar[type[ModelConfig]] = ArimaConfig

    def __init__(self, config: ArimaConfig) -> None:
        self.config = config
        self._ids = np.empty(0, dtype=object)
        self._events: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self._series: list[_Series] = []

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Choose each series' order, or take it from `context.previous`, and estimate its parameters."""
        self._events = recurring_events(panel)
        view = self._view(panel)
        self._names, self._ids = view.regressors.names, panel.ids
        penalty = self._penalties(view.regressors)
        year_dates = self.config.year_after_days / panel.frequency.days
        effects = _Effects(penalty, view.regressors.yearly, year_dates, self.config)
        least = panel.frequency.fewer(self.config.min_history)
        config = self.config.model_copy(update={"min_history": least})
        known = self._known_noise(context.previous)
        self._series = []
        with threadpool_limits(1, "blas"):  # a series' matrices are too small for threads
            for i, uid in enumerate(panel.ids):
                y = view.logs[i, view.start[i] :]
                x = view.regressors.of(i)[view.start[i] : view.panel.n_history]
                prior = _level_effects(y, x, view.regressors, self.config.level_ridge)
                self._series.append(_fit_series(y, x, prior, effects, known.get(uid), config))
                if (i + 1) % 20 == 0 or i + 1 == panel.n_series:
                    context.progress(i + 1, panel.n_series)
        return self._report()

    def forecast(self, panel: Panel) -> Forecast:
        """Filter the panel's history with the fitted parameters and forecast its future dates.

        Raises:
            ModelError: a series was not fitted, or the panel lacks a covariate that the fit had.
        """
        rows = rows_of(self._ids, panel.ids, "ARIMA")
        view = self._view(panel)
        if view.regressors.names != self._names:
            raise ModelError(
                "the panel's covariates are not those that ARIMA was fitted on",
                expected=", ".join(self._names),
                found=", ".join(view.regressors.names),
                cure="ask with the data set that the model was fitted on",
            )
        mean, sd = np.zeros((2, panel.n_series, panel.horizon))
        dead_after = panel.frequency.fewer(self.config.dead_after)
        dead = ~(view.logs[:, -dead_after:] > 0).any(axis=1)
        sd[dead] = MIN_SD
        for i in np.flatnonzero(~dead).tolist():
            x = view.regressors.of(i)[view.start[i] :]
            y = view.logs[i, view.start[i] :]
            mean[i], sd[i] = _forecast_series(y, x, self._series[rows[i]], self.config.clip)
        closed = view.closed[:, view.panel.n_history :]
        mean[closed], sd[closed] = 0.0, MIN_SD
        return forecast_from_log(panel, mean, sd)

    def save(self, folder: Path) -> None:
        """Write `arima.arrow`."""
        width = (
            max((len(s.noise.ar) for s in self._series), default=1) or 1,
            max((len(s.noise.ma) for s in self._series), default=1) or 1,
        )
        noise = np.zeros((len(self._series), sum(width)))
        for row, s in zip(noise, self._series, strict=True):
            row[: len(s.noise.ar)] = s.noise.ar
            row[width[0] : width[0] + len(s.noise.ma)] = s.noise.ma
        arrays: dict[str, NDArray[Any]] = {
            "order": np.array([s.noise.order for s in self._series], dtype=np.int8).reshape(-1, 2),
            "ar": noise[:, : width[0]],
            "ma": noise[:, width[0] :],
            "beta": np.array([s.beta for s in self._series]).reshape(-1, len(self._names)),
            "sigma": np.array([s.sigma for s in self._series], dtype=np.float64),
        }
        meta = {"config": self.config.model_dump(), "events": self._events, "regressors": self._names}
        save_parameters(folder / FILE, self._ids, arrays, meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        ids, arrays, meta = load_parameters(folder / FILE)
        model = cls(ArimaConfig(**meta["config"]))
        model._ids, model._events, model._names = ids, tuple(meta["events"]), tuple(meta["regressors"])
        model._series = [
            _Series(beta, Noise(ar[:p], ma[:q]), float(sigma))
            for (p, q), ar, ma, beta, sigma in zip(
                *(arrays[k] for k in ("order", "ar", "ma", "beta", "sigma")), strict=True
            )
        ]
        return model

    def _view(self, panel: Panel) -> _View:
        last = panel.last(self.config.window)
        skipped = panel.n_history - last.n_history
        known = closures(panel)
        closed = known.days[:, skipped:]
        missing = closed[:, : last.n_history] | np.isnan(last.history)
        source = stand_ins(missing, panel.frequency.season)
        regressors = build_regressors(last, self._events, self.config.week_order, self.config.year_order)
        return _View(
            panel=last,
            logs=np.log1p(taken(last.history, source)),
            start=np.clip(panel.first_sale - skipped, 0, last.n_history),
            closed=closed,
            regressors=regressors.taken_from(source, known.by),
        )

    def _penalties(self, regressors: Regressors) -> Floats:
        """(K,) the ridge of each column's effect."""
        year = np.any(regressors.yearly, axis=0) if regressors.yearly else False
        others = np.where(regressors.recurring, self.config.event_ridge, self.config.ridge)
        return np.where(year, self.config.year_ridge, others)

    def _known_noise(self, previous: object) -> dict[str, Noise]:
        if not (self.config.reuse_orders and isinstance(previous, Arima)):
            return {}
        return {uid: s.noise for uid, s in zip(previous._ids, previous._series, strict=True) if not s.reason}

    def _report(self) -> FitReport:
        orders: dict[str, int] = {}
        fallbacks = []
        for uid, s in zip(self._ids, self._series, strict=True):
            if s.reason:
                fallbacks.append(Fallback(str(uid), s.reason, FALLBACK))
            else:
                label = f"({s.noise.order[0]},1,{s.noise.order[1]})"
                orders[label] = orders.get(label, 0) + 1
        return FitReport(tuple(fallbacks), {"orders": dict(sorted(orders.items()))})


def _level_effects(y: Floats, x: Floats, regressors: Regressors, ridge: float) -> Floats:
    """(K,) effects of the covariates by ridge least squares on levels, beside a mean, a trend and the week.

    Zero for all other columns, the week's too: their effects are told from differences.
    """
    beta = np.zeros(x.shape[1])
    covariates = regressors.covariates
    if len(y) < 2 or not covariates.any():
        return beta
    trend, week = np.linspace(-1, 1, len(y)), x[:, regressors.weekly]
    z = np.column_stack([np.ones(len(y)), trend, week, x[:, covariates]])
    penalty = np.r_[0.0, np.ones(1 + week.shape[1]), np.full(covariates.sum(), ridge)]
    beta[covariates] = Ridge.of(z, y, penalty).solution[-covariates.sum() :]
    return beta


def _fit_series(
    y: Floats, x: Floats, prior: Floats, effects: _Effects, known: Noise | None, config: ArimaConfig
) -> _Series:
    """Regression under the starting noise, the noise's order and parameters, regression under that noise.

    Effects are pulled towards `prior`.
    """
    if len(y) < 2 or np.ptp(y) == 0:
        reason = "no sale in the history used" if not y.any() else "all values are the same"
        return _Series(np.zeros(x.shape[1]), START, MIN_SD, reason)
    y = y - x @ prior
    beta = effects.told(y, x, START)
    reason, noise = "", None
    if len(y) < config.min_history:
        reason = f"on sale for {len(y)} dates, fewer than {config.min_history}"
    else:
        steps = np.diff(_tamed(y - x @ beta, START, config.clip))
        noise = estimate(steps, known, config.orders, config.criterion, config.refine)
        if noise is None:
            reason = "no candidate order could be estimated"
    if noise is None:
        noise = START
    else:
        beta = effects.told(y, x, noise)
    sigma = _deviation(_tamed(y - x @ beta, noise, config.clip), noise)
    return _Series(prior + beta, noise, sigma, reason)


def _tamed(noise_path: Floats, noise: Noise, clip: float) -> Floats:
    """The noise with days moved to `clip` deviations where they surprise by more: a closed day, a typo.

    A new level surprises on its first day only, so it comes through one day late.
    """
    u, v = innovations(np.diff(noise_path), noise)
    bound = clip * _robust_sd(u) * np.sqrt(v)
    out = noise_path.copy()
    out[1:] -= u - np.clip(u, -bound, bound)
    return out


def _forecast_series(y: Floats, x: Floats, fitted: _Series, clip: float) -> tuple[Floats, Floats]:
    """Mean and deviation of log sales on the dates after `y`; `x` covers history and future."""
    from statsmodels.tsa.arima_process import arma2ma

    n, horizon, noise = len(y), len(x) - len(y), fitted.noise
    path = y - x[:n] @ fitted.beta
    if n > 1:
        path = _tamed(path, noise, clip)
    steps, surprises = list(np.diff(path)), list(innovations(np.diff(path), noise)[0]) if n > 1 else []
    surprises += [0.0] * horizon
    for t in range(n - 1, n - 1 + horizon):
        ar = sum(c * steps[t - 1 - k] for k, c in enumerate(noise.ar) if t - 1 - k >= 0)
        ma = sum(c * surprises[t - 1 - k] for k, c in enumerate(noise.ma) if t - 1 - k >= 0)
        steps.append(ar + ma)
    level = path[-1] if n else 0.0
    mean = level + np.cumsum(steps[len(steps) - horizon :]) + x[n:] @ fitted.beta
    psi = np.cumsum(arma2ma(np.r_[1.0, -noise.ar], np.r_[1.0, noise.ma], lags=horizon))
    return mean, np.maximum(fitted.sigma * np.sqrt(np.cumsum(psi**2)), MIN_SD)


def _deviation(noise_path: Floats, noise: Noise) -> float:
    u, v = innovations(np.diff(noise_path), noise)
    return float(max(np.sqrt(np.mean(u**2 / v)), MIN_SD))


def _robust_sd(values: Floats) -> float:
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values)))) + 1e-3
