"""The seasonal naive: the last season again. Every other model must beat it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from storecast.models.base import FitContext, FitReport, Forecast, ModelConfig, forecast_from_log
from storecast.panel import Floats, Panel


class NaiveConfig(ModelConfig):
    """Parameters of the seasonal naive."""

    seasons: int = Field(
        default=8, ge=2, description="Seasons of history whose errors set the interval's width."
    )


class SeasonalNaive:
    """Repeats the last season: 7 days; 52 weeks where the history has two years, else the last week."""

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
        logs = np.log1p(np.nan_to_num(panel.history[:, -season * (self.config.seasons + 1) :]))
        ahead = np.arange(panel.horizon)
        if logs.shape[1] < season:
            logs = np.pad(logs, ((0, 0), (season - logs.shape[1], 0)), mode="edge")
        mean = logs[:, logs.shape[1] - season + ahead % season]
        errors = logs[:, season:] - logs[:, :-season]
        sd = _spread(errors)[:, None] * np.sqrt(1 + ahead // season)
        return forecast_from_log(panel, mean, sd)

    def save(self, folder: Path) -> None:
        """Write the parameters."""
        (folder / "naive.json").write_text(json.dumps(self.config.model_dump(), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        return cls(NaiveConfig(**json.loads((folder / "naive.json").read_text())))


def _season(panel: Panel) -> int:
    season = panel.season_length
    enough = panel.n_history >= 2 * season
    return season if enough or panel.freq == "D" else 1


def _spread(errors: Floats) -> Floats:
    """(n,) standard deviation of the errors, 0 where there are none."""
    return errors.std(axis=1) if errors.shape[1] else np.zeros(len(errors))
