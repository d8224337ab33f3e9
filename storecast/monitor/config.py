"""What monitoring looks at and where its limits are, as configs/monitoring/*.yaml say it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from storecast.configs import config_file
from storecast.segments import VOLUME
from storecast.yaml_model import load_yaml_model


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreLimits(_Strict):
    """Limits of the scores of what was served."""

    windows_days: tuple[int, ...] = Field(
        default=(7, 28), min_length=1, description="Rolling windows; the longest one is judged."
    )
    decisive_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of all series that a segment needs to raise an alarm."
    )
    min_rows: int = Field(default=200, ge=1, description="Rows with actuals that a judged segment needs.")
    error_over_naive: float = Field(
        default=1.25, gt=0, description="RMSLE over that of the seasonal naive of the same cutoff."
    )
    error_over_promise: float = Field(
        default=2.0,
        gt=0,
        description="RMSLE over what the release's backtest promised; where the naive errs more than in the "
        "backtest, the time is harder and the promise counts that much higher.",
    )
    bias: float = Field(default=0.6, gt=0, description="|Σ forecast − Σ actual| / Σ actual.")
    coverage_80: tuple[float, float] = Field(
        default=(0.4, 0.995), description="Least and largest share of actuals inside the 80 % interval."
    )


class DriftLimits(_Strict):
    """Limits of moves that neither the last weeks nor the season explain."""

    windows_days: tuple[int, ...] = Field(default=(3, 7), min_length=1, description="Windows of the means.")
    before_days: int = Field(default=56, ge=14, description="Days before the window that give the level.")
    alpha: float = Field(
        default=0.05, gt=0, lt=1, description="False discovery rate over all moves that are tested on a day."
    )
    error_move: float = Field(
        default=0.35, ge=0, description="Smallest move of a mean error that counts, on the log scale."
    )
    level_move: float = Field(
        default=0.35, ge=0, description="Smallest move of the mean level of sales, on the log scale."
    )
    known_move: float = Field(
        default=0.5, ge=0, description="Smallest move of a covariate's mean of log(1 + value): people set it."
    )
    share_move: float = Field(
        default=0.2, ge=0, description="Smallest move of a share (zeros, promoted rows) that counts."
    )
    error_series: float = Field(
        default=0.08, ge=0, le=1, description="Share of series whose errors are far from their own past."
    )
    known_series: float = Field(
        default=0.08, ge=0, le=1, description="Share of series on which a known covariate appears or ends."
    )
    sds: float = Field(
        default=4.0, gt=0, description="Standard deviations from which a series is far from its past."
    )


class FeedLimits(_Strict):
    """Limits of what arrives: how fresh, how whole, how plausible."""

    stale_days: int = Field(default=2, ge=0, description="Days without new actuals that are tolerated.")
    missing_series: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the series with a row a week before that the day lacks.",
    )
    zero_series: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the series that always sell on this weekday and have 0 sales, holidays apart.",
    )
    repeated_series: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of selling series with exactly the sales of the day before or the week before.",
    )
    scale: float = Field(
        default=1.8,
        gt=1,
        description="Factor by which the median series is off its forecast, its last weeks and last year.",
    )
    min_series: int = Field(default=10, ge=1, description="Series that a judged group needs.")
    groups: str = Field(
        default="",
        description="Static column of those who send: each of its values is checked by itself; none given: "
        "the first key.",
    )
    days: int = Field(default=7, ge=1, description="Last days of actuals that are looked at.")
    sender_days: int = Field(
        default=3, ge=1, description="Days that the factor of one sender must last; one day for all together."
    )


class MonitorConfig(_Strict):
    """What monitoring looks at and where its limits are."""

    segments: tuple[str, ...] | None = Field(
        default=None,
        description="Segment columns: volume, static columns; none given: volume and every static column "
        "with at most `most_values` values.",
    )
    most_values: int = Field(default=100, ge=1, description="Values that a segment column may have.")
    decisive_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Share of all series that a segment needs for its drift to be tested.",
    )
    scores: ScoreLimits = Field(default_factory=ScoreLimits)
    drift: DriftLimits = Field(default_factory=DriftLimits)
    feed: FeedLimits = Field(default_factory=FeedLimits)

    def columns(self, table_columns: dict[str, int]) -> list[str]:
        """The segment columns, of a table's columns with the number of their values."""
        if self.segments is not None:
            return list(self.segments)
        fitting = [name for name, count in table_columns.items() if 1 < count <= self.most_values]
        return [VOLUME, *(name for name in fitting if name != VOLUME)]


def load_monitor_config(name: str) -> MonitorConfig:
    """A monitoring config by name, path or URI.

    Raises:
        ConfigError: there is no such file, or it is wrong; names line, key and cure.
    """
    return load_yaml_model(config_file(name, "monitoring"), MonitorConfig)
