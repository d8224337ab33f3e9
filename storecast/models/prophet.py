"""Prophet, one model per series, on log sales, with events and promotion as regressors.

The model is the library's, its priors and seasonal terms too; its most likely parameters are found exactly
instead of by Stan's search (`storecast.models.posterior`). What was learnt (trend, changepoints, effects,
scales) is kept as arrays, and a forecast evaluates the formula of `Prophet.predict`, trend(t) + X·beta, for
all series at once. Prophet's trend knows the last weeks no better than the first ones, so the forecast is
shifted by the mean of the recent residuals, newer ones weighing more; that also carries the parameters to a
later cutoff.

Source: Taylor and Letham, Forecasting at Scale, The American Statistician 72 (2018).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits

from storecast.calendar import DAYS_PER_YEAR
from storecast.errors import ModelError
from storecast.models.base import (
    Fallback,
    FitContext,
    FitReport,
    Forecast,
    ModelConfig,
    forecast_from_log,
)
from storecast.models.closures import closures
from storecast.models.parameters import load_parameters, rows_of, save_parameters
from storecast.models.posterior import Problem, most_likely
from storecast.models.regressors import Regressors, build_regressors, recurring_events
from storecast.panel import Floats, Panel

FILE = "prophet.arrow"
FALLBACK = "recent mean of log sales"
EPOCH = pd.Timestamp("1970-01-01")
MIN_SD = 0.02
"""Smallest deviation on the log scale: nothing is certain, not even a zero."""


class ProphetConfig(ModelConfig):
    """Parameters of the Prophet model; lengths are in dates of the panel."""

    window: int = Field(default=728, ge=30, description="Dates of history used.")
    min_history: int = Field(default=60, ge=10, description="A series on sale for fewer dates falls back.")
    dead_after: int = Field(
        default=28, ge=1, description="A series without sales for so long is over: zeros."
    )
    week_order: int = Field(default=3, ge=1, le=3, description="Fourier order of the week (daily panels).")
    year_order: int = Field(default=4, ge=0, le=20, description="Fourier order of the year (daily panels).")
    weekly_year_order: int = Field(default=4, ge=0, le=20, description="The same in weekly panels.")
    monthly_year_order: int = Field(default=5, ge=0, le=5, description="The same in monthly panels.")
    year_after_days: int = Field(default=300, ge=30, description="Yearly season only after so many days.")
    weekly_year_after_days: int = Field(default=700, ge=30, description="The same in others.")
    changepoints: int = Field(default=10, ge=0, description="Places where the trend may bend.")
    changepoint_scale: float = Field(default=0.05, gt=0, description="Prior deviation of a bend.")
    season_scale: float = Field(default=10.0, gt=0, description="Prior deviation of seasonal effects.")
    regressor_scale: float = Field(default=0.3, gt=0, description="Prior deviation of other effects.")
    level_dates: int = Field(default=60, ge=0, description="Recent residuals that shift the level; 0: none.")
    level_half_life: float = Field(default=7.0, gt=0, description="Dates after which a residual counts half.")
    max_iterations: int = Field(default=10_000, ge=1, description="Limit on the optimiser's turns.")


class Prophet:
    """Prophet per series; see the module's docstring."""

    scope: ClassVar[Literal["local", "global"]] = "local"
    Config: ClassVar[type[ModelConfig]] = ProphetConfig

    def __init__(self, config: ProphetConfig) -> None:
        self.config = config
        self._ids = np.empty(0, dtype=object)
        self._events: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self._learnt: dict[str, NDArray[Any]] = {}

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Fit Prophet to each series on sale for long enough; the others keep their recent mean."""
        self._events, self._ids = recurring_events(panel), panel.ids
        last = panel.last(self.config.window)
        regressors = self._regressors(last)
        self._names = regressors.names
        starts = _starts(panel, last)
        closed = closures(panel).days[:, panel.n_history - last.n_history :][:, : last.n_history]
        logs = np.log1p(np.where(closed, np.nan, last.history))
        seasons = self._season_terms(last)
        self._learnt = self._blank(panel.n_series, seasons.shape[1])
        fallbacks, least = [], panel.frequency.fewer(self.config.min_history)
        daily = panel.frequency.daily
        with threadpool_limits(1, "blas"):  # a series' matrices are too small for threads
            for i, uid in enumerate(panel.ids):
                on_sale = slice(starts[i], last.n_history)
                y, x = logs[i, on_sale], regressors.of(i)[on_sale]
                reason = _unfit(y, least)
                if not reason:
                    reason = self._solve(
                        i, *self._problem(last.dates[on_sale], y, seasons[on_sale], x, daily)
                    )
                if reason:
                    fallbacks.append(Fallback(str(uid), reason, FALLBACK))
                if (i + 1) % 10 == 0 or i + 1 == panel.n_series:
                    context.progress(i + 1, panel.n_series)
        return FitReport(tuple(fallbacks))

    def forecast(self, panel: Panel) -> Forecast:
        """Evaluate trend, seasons and effects, shifted to the level of the panel's last dates.

        Raises:
            ModelError: a series was not fitted, or the panel lacks a covariate that the fit had.
        """
        rows = rows_of(self._ids, panel.ids, "Prophet")
        dead_after = panel.frequency.fewer(self.config.dead_after)
        recent = panel.last(min(max(self.config.level_dates, dead_after), panel.n_history))
        expected, trend_sd = self._predict(recent, rows)
        history = recent.n_history
        closed = closures(panel).days[:, panel.n_history - history :]
        logs = np.log1p(np.where(closed[:, :history], np.nan, recent.history))
        shift, level_sd = self._level(logs - expected[:, :history], _starts(panel, recent))
        mean = expected[:, history:] + shift[:, None]
        noise = np.where(self._learnt["fitted"][rows], self._learnt["sigma"][rows], level_sd)
        sd = np.maximum(np.hypot(noise[:, None], trend_sd[:, history:]), MIN_SD)
        latest = logs[:, -dead_after:]
        dead = np.any(latest == 0, axis=1) & ~np.any(latest > 0, axis=1)
        over = np.logical_or(dead[:, None], closed[:, history:])
        mean[over], sd[over] = 0.0, MIN_SD
        return forecast_from_log(panel, mean, sd)

    def save(self, folder: Path) -> None:
        """Write `prophet.arrow`."""
        meta = {"config": self.config.model_dump(), "events": self._events, "regressors": self._names}
        save_parameters(folder / FILE, self._ids, self._learnt, meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        ids, arrays, meta = load_parameters(folder / FILE)
        model = cls(ProphetConfig(**meta["config"]))
        model._ids, model._learnt = ids, arrays
        model._events, model._names = tuple(meta["events"]), tuple(meta["regressors"])
        return model

    def _regressors(self, panel: Panel) -> Regressors:
        return build_regressors(panel, self._events, week_order=0, year_order=0)

    def _blank(self, n: int, terms: int) -> dict[str, NDArray[Any]]:
        """Parameters of n series of which nothing is known: they forecast their recent mean."""
        bends = max(self.config.changepoints, 1)
        return {
            "fitted": np.zeros(n, dtype=bool),
            **{name: np.zeros(n) for name in ("k", "m", "sigma", "scale", "start", "span")},
            "delta": np.zeros((n, bends)),
            "bend": np.zeros((n, bends)),
            "season": np.zeros((n, terms)),
            "beta": np.zeros((n, len(self._names))),
        }

    def _problem(
        self, dates: pd.DatetimeIndex, y: Floats, seasons: Floats, x: Floats, daily: bool
    ) -> tuple[Problem, NDArray[np.bool_]]:
        """What Prophet is asked of a series on sale on these dates; missing ones are left out.

        Args:
            dates: (T,) from its first sale on.
            y: (T,) log sales, NaN where missing.
            seasons: (T, terms) seasonal terms, those of the week first.
            x: (T, K) regressors.
            daily: whether dates are days, which have a week.

        Returns:
            The problem, and which (terms + K,) of the columns are in it.
        """
        terms = seasons.shape[1]
        used = np.r_[np.zeros(terms, dtype=bool), np.ptp(x, axis=0) > 0]
        week = 2 * self.config.week_order
        year_after = self.config.year_after_days if daily else self.config.weekly_year_after_days
        used[:week] = daily
        used[week:terms] = (dates[-1] - dates[0]).days >= year_after
        scales = np.repeat([self.config.season_scale, self.config.regressor_scale], [terms, x.shape[1]])
        known = ~np.isnan(y)
        columns = np.column_stack([seasons, x])[known][:, used]
        some = columns.shape[1] > 0
        problem = Problem(
            days=(dates - EPOCH).days.to_numpy(dtype=np.float64)[known],
            y=y[known],
            x=columns if some else np.zeros((len(columns), 1)),
            scales=scales[used] if some else np.ones(1),
            bends=self.config.changepoints,
            bend_scale=self.config.changepoint_scale,
        )
        return problem, used

    def _solve(self, i: int, problem: Problem, used: NDArray[np.bool_]) -> str:
        """Fit one series and keep its parameters in row i; returns why that failed, or ""."""
        try:
            found = most_likely(problem, self.config.max_iterations)
        except (RuntimeError, np.linalg.LinAlgError) as error:
            return f"no optimum was found: {error}"
        learnt, terms = self._learnt, len(used) - len(self._names)
        learnt["fitted"][i] = True
        learnt["k"][i], learnt["m"][i] = found.k, found.m
        learnt["scale"][i] = problem.y_scale
        learnt["sigma"][i] = found.sigma * problem.y_scale
        learnt["start"][i], learnt["span"][i] = problem.days[0], problem.span
        learnt["delta"][i, : len(found.delta)] = found.delta
        learnt["bend"][i, : len(problem.bend_times)] = problem.bend_times
        effects = np.zeros(len(used))
        effects[used] = found.beta[: used.sum()]
        learnt["season"][i], learnt["beta"][i] = effects[:terms], effects[terms:]
        return ""

    def _predict(self, panel: Panel, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """(n, T) log sales that Prophet expects and the deviation of its trend's future bends."""
        regressors = self._regressors(panel)
        if regressors.names != self._names:
            raise ModelError(
                "the panel's covariates are not those that Prophet was fitted on",
                expected=", ".join(self._names),
                found=", ".join(regressors.names),
                cure="ask with the data set that the model was fitted on",
            )
        p = {name: values[rows] for name, values in self._learnt.items()}
        days = (panel.dates - EPOCH).days.to_numpy(dtype=np.float64)
        t = (days - p["start"][:, None]) / np.maximum(p["span"], 1.0)[:, None]
        trend = p["k"][:, None] * t + p["m"][:, None]
        for delta, bend in zip(p["delta"].T, p["bend"].T, strict=True):
            trend += delta[:, None] * np.maximum(t - bend[:, None], 0.0)
        n_common = regressors.common.shape[1]
        effects = p["season"] @ self._season_terms(panel).T + p["beta"][:, :n_common] @ regressors.common.T
        effects += np.einsum("ntk,nk->nt", regressors.own, p["beta"][:, n_common:])
        return (trend + effects) * p["scale"][:, None], _bend_sd(p, t)

    def _season_terms(self, panel: Panel) -> Floats:
        """(T, terms) the library's own Fourier terms, in the order of the parameters."""
        series = _library().Prophet.fourier_series
        stamps = pd.Series(panel.dates)
        config = self.config
        years = {
            "day": config.year_order,
            "week": config.weekly_year_order,
            "month": config.monthly_year_order,
        }
        seasons = ((7.0, config.week_order), (DAYS_PER_YEAR, years[panel.frequency.unit]))
        return np.column_stack([series(stamps, period, order) for period, order in seasons if order])

    def _level(self, residuals: Floats, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(n,) weighted mean of each series' recent residuals since its first sale, and their deviation."""
        n_dates = residuals.shape[1]
        age = np.arange(n_dates - 1, -1, -1)
        weight = np.where(age < self.config.level_dates, 0.5 ** (age / self.config.level_half_life), 0.0)
        known = (np.arange(n_dates) >= starts[:, None]) & ~np.isnan(residuals)
        weights, residuals = np.where(known, weight, 0.0), np.nan_to_num(residuals)
        total = np.maximum(weights.sum(axis=1), 1e-12)
        mean = (weights * residuals).sum(axis=1) / total
        variance = (weights * (residuals - mean[:, None]) ** 2).sum(axis=1) / total
        return mean, np.sqrt(variance)


def _unfit(y: Floats, least: int) -> str:
    """Why Prophet should not be tried on log sales (T,) of which `least` must be known, or ""."""
    known = y[~np.isnan(y)]
    if len(known) == 0 or not known.any():
        return "no sale in the history used"
    if len(known) < least:
        return f"on sale for {len(known)} dates, fewer than {least}"
    return "all values are the same" if known.min() == known.max() else ""


def _starts(panel: Panel, last: Panel) -> NDArray[np.int64]:
    """(n,) position of each series' first sale on the axis of the panel's last dates."""
    return np.clip(panel.first_sale - (panel.n_history - last.n_history), 0, last.n_history)


def _bend_sd(p: dict[str, NDArray[Any]], t: Floats) -> Floats:
    """(n, T) deviation of the trend where it may go on bending as often and as much as it did.

    Prophet draws new bends at rate S per span with Laplace(mean |delta|) sizes; a bend at distance d moves
    the trend by its size times d, so the variance after a distance d is 2·S·scale²·d³ / 3.
    """
    size = np.abs(p["delta"]).mean(axis=1)[:, None] * p["scale"][:, None]
    ahead = np.maximum(t - 1.0, 0.0)
    return np.asarray(size * np.sqrt(2.0 * p["delta"].shape[1] * ahead**3 / 3.0))


def _library() -> Any:
    """The prophet package; its complaint that plots need plotly is not for our users."""
    logger = logging.getLogger("prophet.plot")
    logger.addFilter(_not_about_plotly)
    import prophet

    logger.removeFilter(_not_about_plotly)
    return prophet


def _not_about_plotly(record: logging.LogRecord) -> bool:
    return "plotly" not in record.getMessage()
