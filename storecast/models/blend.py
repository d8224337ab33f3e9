"""The blend: a weighted mean of other models' forecasts, with weights that the backtest chose per segment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storecast.blend import BAND, NEW, SHRINKAGE, BlendWeights
from storecast.errors import ModelError
from storecast.models.base import (
    QUANTILES,
    FitContext,
    FitReport,
    Forecast,
    Forecaster,
    ModelConfig,
    RowForecaster,
)
from storecast.models.catalogue import class_path_of, load_class
from storecast.newcomers import without_history
from storecast.panel import Panel
from storecast.segments import VOLUME


class BlendConfig(ModelConfig):
    """How the weights are chosen (by `storecast.blend.fit_weights`)."""

    segment: str = Field(default=VOLUME, description='"volume", or a static column: weights per its values.')
    shrinkage: float = Field(
        default=SHRINKAGE,
        ge=0,
        description="Backtest rows at which a segment's own weights count as much as the global ones.",
    )
    band: float = Field(
        default=BAND, gt=0, description="How far members may stray from the leading one, on the log scale."
    )


class Blend:
    """Weighted mean of the members' points and quantiles, both on the log(1+y) scale.

    Before it is taken, every member is held within a band around the leading one (`BlendWeights.held`).

    For points that is the forecast whose squared log error the weights minimise. For quantiles it is quantile
    averaging ("Vincentization", Lichtendahl, Grushka-Cockayne & Winkler 2013), which keeps the shape of the
    members' distributions and never crosses.

    Members are fitted elsewhere and given by `Blend.of`; `fit` fits nothing.
    """

    scope: ClassVar[Literal["local", "global"]] = "global"
    Config: ClassVar[type[ModelConfig]] = BlendConfig

    def __init__(self, config: BlendConfig) -> None:
        self.config = config
        self.members: dict[str, Forecaster] = {}
        self.weights = BlendWeights((), (), config.segment, {})
        self.segments: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        members: Mapping[str, Forecaster],
        weights: BlendWeights,
        segments: Mapping[str, str],
        config: BlendConfig | None = None,
    ) -> Self:
        """A blend of fitted models.

        Args:
            members: fitted forecaster by model name; at least those of `weights`, others are left out.
            weights: from `storecast.blend.fit_weights`.
            segments: segment by unique_id, as the weights were chosen by, of all series that the members
                were fitted on; others are forecast as those without history are.
            config: None: the defaults, with the segment column of the weights.

        Raises:
            ModelError: a model that has weights is not among the members.
        """
        missing = [name for name in weights.models if name not in members]
        if missing:
            raise ModelError(
                f"the blend has weights for models that were not given: {', '.join(missing)}",
                expected=", ".join(weights.models),
                found=", ".join(members),
                cure="fit these models too, or choose the weights without them",
            )
        blend = cls(config or BlendConfig(segment=weights.column))
        blend.members = {name: members[name] for name in weights.models}
        blend.weights = weights
        blend.segments = {str(key): str(value) for key, value in segments.items()}
        return blend

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Report the weights; members come fitted.

        Raises:
            ModelError: the blend has no members.
        """
        self._ready()
        context.progress(panel.n_series, panel.n_series)
        return FitReport(info={"weights": self.weights.to_dict()})

    def forecast(self, panel: Panel) -> Forecast:
        """The weighted mean of the members' forecasts; one without weight that does not lead is not asked."""
        return self.forecast_rows(panel, np.arange(panel.n_series))

    def forecast_rows(self, panel: Panel, rows: NDArray[np.int64]) -> Forecast:
        """The forecasts of some series (positions) of a panel.

        Global members see the whole panel, since a series may be forecast by its peers; local ones see
        only those of these series that they were fitted on, and so take only their time.
        """
        self._ready()
        ids = panel.ids[rows]
        fitted = np.array([str(name) in self.segments for name in ids], dtype=bool)
        new = without_history(panel, rows=rows) | ~fitted
        segments = [
            NEW if unknown else self.segments[str(name)] for name, unknown in zip(ids, new, strict=True)
        ]
        shares = self.weights.rows(segments)
        logs = np.zeros((1 + len(QUANTILES), len(ids), panel.horizon, len(self.members)))
        for i, (name, member) in enumerate(self.members.items()):
            able = fitted if member.scope == "local" else np.ones_like(fitted)
            if able.any() and (shares[able, i].any() or name == self.weights.leader):
                part, own = forecast_rows(member, panel, rows[able]), logs[..., i]
                own[0, able] = np.log1p(part.point)
                own[1:, able] = np.log1p(np.moveaxis(part.quantiles, -1, 0))
        mean = np.maximum((self.weights.held(logs, segments) * shares[:, None, :]).sum(axis=-1), 0.0)
        return Forecast(ids, panel.future_dates, np.expm1(mean[0]), np.expm1(np.moveaxis(mean[1:], 0, -1)))

    def save(self, folder: Path) -> None:
        """Write weights.json and each member into members/<name>/ by its own save."""
        self._ready()
        for name, member in self.members.items():
            (folder / "members" / name).mkdir(parents=True)
            member.save(folder / "members" / name)
        content = {
            "config": self.config.model_dump(),
            "members": {name: class_path_of(member) for name, member in self.members.items()},
            "weights": self.weights.to_dict(),
            "segments": self.segments,
        }
        (folder / "weights.json").write_text(json.dumps(content, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; only classes that implement Forecaster are loaded."""
        content = json.loads((folder / "weights.json").read_text())
        members = {
            name: load_class(path).load(folder / "members" / name)
            for name, path in content["members"].items()
        }
        weights = BlendWeights.from_dict(content["weights"])
        return cls.of(members, weights, content["segments"], BlendConfig(**content["config"]))

    def _ready(self) -> None:
        if not self.members:
            raise ModelError(
                "the blend has no members",
                expected="fitted models and weights",
                cure="make it by Blend.of(members, weights, segments)",
            )


def forecast_rows(model: Forecaster, panel: Panel, rows: NDArray[np.int64]) -> Forecast:
    """The forecasts of some series (positions) of a panel, asking a local model only for these."""
    if isinstance(model, RowForecaster) and len(rows) < panel.n_series:
        return model.forecast_rows(panel, rows)
    if model.scope == "local":
        return model.forecast(panel.select(rows))
    return model.forecast(panel).select(rows)
