"""The seasonal naive: the last season again. Every other model must beat it.

What stands for a date that was not observed is the one a season before (`storecast.models.gaps`). A series
without history has no last season. It gets the one that its static values let expect: of each date of the
season a ridge regression of the other series' logs on these values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storecast.features.peers import Peers
from storecast.models.base import FitContext, FitReport, Forecast, ModelConfig, forecast_from_log
from storecast.models.gaps import stand_ins, taken
from storecast.newcomers import without_history
from storecast.panel import Floats, Panel


class NaiveConfig(ModelConfig):
    """Parameters of the seasonal naive."""

    seasons: int = Field(
        default=8, ge=2, description="Seasons of history whose errors set the interval's width."
    )


class SeasonalNaive:
    """Repeats the last season: 7 days; a year of weeks or months where there are two, else the last date."""

    scope: ClassVar[Literal["local", "global"]] = "global"
    Config: ClassVar[type[ModelConfig]] = NaiveConfig

    def __init__(self, config: NaiveConfig) -> None:
        self.config = config

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Nothing to learn: the history given to `forecast` says all."""
        context.progress(panel.n_series, panel.n_series)
        return FitReport()

    def forecast(self, panel: Panel) -> Forecast:
        """Repeat the last season; the spread is that of the last seasons' errors on the log scale."""
        season = _season(panel)
        history = panel.history[:, -season * (self.config.seasons + 1) :]
        missing = np.isnan(history)
        logs = np.log1p(taken(np.nan_to_num(history), stand_ins(missing, season)))
        ahead = np.arange(panel.horizon)
        if logs.shape[1] < season:
            logs = np.pad(logs, ((0, 0), (season - logs.shape[1], 0)), mode="edge")
        mean = logs[:, logs.shape[1] - season + ahead % season]
        errors = np.where(
            missing[:, season:] | missing[:, :-season], np.nan, logs[:, season:] - logs[:, :-season]
        )
        spread, new = _spread(errors), without_history(panel)
        if new.any() and not new.all():
            mean[new], spread[new] = _expected(panel, mean, season, new)
        return forecast_from_log(panel, mean, spread[:, None] * np.sqrt(1 + ahead // season))

    def forecast_rows(self, panel: Panel, rows: NDArray[np.int64]) -> Forecast:
        """The forecasts of some series (positions): the others matter only to one without history."""
        if without_history(panel, rows=rows).any():
            return self.forecast(panel).select(rows)
        return self.forecast(panel.select(rows))

    def save(self, folder: Path) -> None:
        """Write the parameters."""
        (folder / "naive.json").write_text(json.dumps(self.config.model_dump(), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        return cls(NaiveConfig(**json.loads((folder / "naive.json").read_text())))


def _season(panel: Panel) -> int:
    season = panel.frequency.season
    enough = panel.n_history >= 2 * season
    return season if enough or panel.frequency.daily else 1


def _spread(errors: Floats) -> Floats:
    """(n,) standard deviation of the errors that are known, 0 where there are none."""
    known = np.isfinite(errors)
    whole, out = known.all(axis=1), np.zeros(len(errors))
    for rows, spread in ((whole, np.std), (known.any(axis=1) & ~whole, np.nanstd)):
        if rows.any() and errors.shape[1]:
            out[rows] = spread(errors[rows], axis=1)
    return out


def _expected(panel: Panel, mean: Floats, season: int, new: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The season that new series' static values let expect, and how far others are from theirs."""
    peers = Peers(panel.static, pairs=())
    known = np.where(new[:, None], np.nan, mean)
    dates = [peers.expected(known[:, day]) for day in range(min(season, panel.horizon))]
    told = np.stack(dates, axis=1)[:, np.arange(panel.horizon) % season]
    return told[new], np.full(int(new.sum()), (mean - told)[~new].std())
