"""What a model is: fit on a panel, forecast its future with quantiles, save to and load from a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from storecast.panel import Floats, Panel

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
"""The levels every forecast carries: the median and the ends of the 80 % and 95 % intervals."""


def quantile_column(level: float) -> str:
    """Column name of a quantile: 0.025 → "q0.025"."""
    return f"q{level:g}"


class ModelConfig(BaseModel):
    """Base of each model's parameters; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Fallback:
    """A series that the model could not fit, why, and what was used instead."""

    unique_id: str
    reason: str
    used: str


def _silent(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class FitContext:
    """What a fit may use besides the panel.

    Attributes:
        seed: seeds every random choice.
        threads: cores this fit may use.
        workdir: folder that outlives a killed process; checkpoints go there. None: do not checkpoint.
        previous: the same model fitted at an earlier cutoff (its orders or weights may be the start), or
            None.
        features: folder of the features stage's output, or None: a model that needs features builds them
            itself.
        progress: called with (done, total) as work proceeds.
    """

    seed: int = 0
    threads: int = 1
    workdir: Path | None = None
    previous: Forecaster | None = None
    features: Path | None = None
    progress: Callable[[int, int], None] = _silent


@dataclass(frozen=True)
class FitReport:
    """What came of a fit: the series that fell back, and figures worth showing (losses, chosen orders)."""

    fallbacks: tuple[Fallback, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts of n series over H dates.

    Attributes:
        ids: (n,) unique_id.
        dates: (H,) the forecast dates.
        point: (n, H) point forecast, ≥ 0: exp(E[log(1+y)]) - 1, what minimises RMSLE.
        quantiles: (n, H, Q) quantile forecasts at `levels`, ≥ 0 and non-decreasing in Q.
        levels: (Q,) quantile levels.
    """

    ids: NDArray[np.object_]
    dates: pd.DatetimeIndex
    point: Floats
    quantiles: Floats
    levels: tuple[float, ...] = QUANTILES

    def select(self, rows: NDArray[np.int64]) -> Forecast:
        """The forecasts of some series (positions)."""
        return replace(self, ids=self.ids[rows], point=self.point[rows], quantiles=self.quantiles[rows])

    def to_frame(self) -> pd.DataFrame:
        """Long form: `unique_id, ds, h` (1-based day ahead), `yhat`, one `q<level>` column per level."""
        n, h = self.point.shape
        return pd.DataFrame(
            {
                "unique_id": np.repeat(self.ids, h),
                "ds": np.tile(self.dates.to_numpy(), n),
                "h": np.tile(np.arange(1, h + 1, dtype=np.int32), n),
                "yhat": self.point.ravel(),
                **{quantile_column(q): self.quantiles[:, :, i].ravel() for i, q in enumerate(self.levels)},
            }
        )


def forecast_from_log(panel: Panel, mean: Floats, sd: Floats) -> Forecast:
    """A forecast from a normal distribution of log(1+y): `mean` and `sd` of shape (n, H)."""
    from scipy.special import ndtri

    z = ndtri(np.array(QUANTILES))
    mean = np.maximum(mean, 0.0)
    spread = mean[:, :, None] + sd[:, :, None] * z
    return Forecast(
        ids=panel.ids,
        dates=panel.future_dates,
        point=np.expm1(mean),
        quantiles=np.expm1(np.maximum(spread, 0.0)),
    )


@runtime_checkable
class Forecaster(Protocol):
    """A forecasting model over a panel.

    `scope` says how it is trained: "local" models treat each series by itself and are fitted in shards
    over processes; "global" models see the whole panel at once.
    """

    scope: ClassVar[Literal["local", "global"]]
    Config: ClassVar[type[ModelConfig]]

    def __init__(self, config: Any) -> None: ...

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Fit on the panel's history (nothing after `panel.cutoff` is there to be seen)."""
        ...

    def forecast(self, panel: Panel) -> Forecast:
        """Forecast `panel.future_dates` for every series of the panel with the fitted parameters.

        The panel may have a later cutoff, other known-future values or fewer series than the one
        fitted on: parameters are kept and the history is filtered anew.

        Raises:
            ModelError: the panel holds a series that the model was not fitted on and cannot forecast.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted model into an existing empty folder: parameters as Arrow, safetensors, text or
        JSON; nothing that executes on loading. The same model gives the same bytes."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        ...


@runtime_checkable
class RowForecaster(Protocol):
    """A model that has a quicker way to forecast some series of a panel than all of them."""

    def forecast_rows(self, panel: Panel, rows: NDArray[np.int64]) -> Forecast:
        """The forecasts of the series at these positions, in this order."""
        ...


@runtime_checkable
class FeatureUser(Protocol):
    """A model that learns from the feature table; it is given one by `FitContext.features`."""

    def feature_cutoffs(self, panel: Panel) -> pd.DatetimeIndex:
        """The training cutoffs whose rows a fit on this panel reads."""
        ...
