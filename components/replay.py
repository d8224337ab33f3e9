"""What a replay of the loop is made of, each part made once: a model fitted at a day, its forecast at a later
one, and the feature table that all fits read.

Like a stage's output, each is a data set named by what it was made from: a replay that is killed goes on
where it stopped, and one with another policy finds the fits that it shares.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.stage import open_panel, progress
from storecast.errors import ConfigError
from storecast.features import write
from storecast.models.base import FeatureUser, FitContext, Forecast, Forecaster
from storecast.models.catalogue import ModelSpec, load_class, load_spec
from storecast.panel import Floats, Panel
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.training_config import NAIVE, TrainingConfig

MODEL, FORECAST = "model", "forecast.parquet"


@dataclass(frozen=True)
class ReplayParts:
    """The fits and forecasts of one model over a period of a panel.

    Attributes:
        store: where data sets lie.
        source: the panel, up to its last day.
        training: training config: the seasonal naive and one other model.
        days: the cutoffs at which the model may be fitted.
    """

    store: DatasetStore
    source: Dataset
    training: TrainingConfig
    days: Sequence[pd.Timestamp]

    @cached_property
    def panel(self) -> Panel:
        """The whole panel."""
        return open_panel(self.store, self.source.uri)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model that is fitted again and again.

        Raises:
            ConfigError: the training config names none, or several.
        """
        others = [name for name in self.training.models if name != NAIVE]
        if len(others) != 1:
            raise ConfigError(
                "a replay fits one model",
                where=f"training config {self.training.name!r}",
                expected=f"models: [{NAIVE}, and one other]",
                found=", ".join(self.training.models),
                cure="use --profile replay, or a YAML file of your own",
            )
        return load_spec(others[0])

    def seconds(self, day: pd.Timestamp) -> float:
        """How long the fit at a day took."""
        return float(self._fit(day).counts["seconds"])

    def naive(self, at: pd.Timestamp) -> Floats:
        """(n, H) the seasonal naive's forecast at a day."""
        return load_spec(NAIVE).make().forecast(self._seen(at)).point

    def forecast(self, fitted: pd.Timestamp, at: pd.Timestamp) -> Floats:
        """(n, H) the forecast, from what is known at day `at`, of the model fitted at day `fitted`."""
        fit = self._fit(fitted)
        if fitted == at:
            return self._read(fit)

        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            del work
            _write(self._load(fit).forecast(self._seen(at)), folder)
            return {}

        made = self.store.materialise(
            "replay-forecast",
            inputs={"fit": fit.key, "panel": self.source.hash},
            config={"at": str(at.date())},
            code=code_version("components.replay", self.spec.module),
            build=build,
        )
        return self._read(made)

    def _fit(self, day: pd.Timestamp) -> Dataset:
        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            features = self.store.path(self._features)
            model, seen = self.spec.make(self.training.profile), self._seen(day)
            context = FitContext(
                seed=self.training.seed,
                threads=load_settings().cores,
                workdir=work,
                features=features,
                progress=progress(f"fit {self.spec.name} at {day.date()}"),
            )
            began = time.perf_counter()
            model.fit(seen, context)
            seconds = time.perf_counter() - began
            (folder / MODEL).mkdir()
            model.save(folder / MODEL)
            _write(model.forecast(seen), folder)
            return {"seconds": round(seconds, 3)}

        return self.store.materialise(
            "replay-fit",
            inputs={"panel": self.source.hash},
            config={**self._about, "cutoff": str(day.date())},
            code=code_version("components.replay", self.spec.module),
            build=build,
        )

    @cached_property
    def _about(self) -> dict[str, Any]:
        params = self.spec.config(self.training.profile).model_dump(mode="json")
        return {"class": self.spec.class_path, "params": params, "seed": self.training.seed}

    @cached_property
    def _features(self) -> Dataset:
        """The feature table of all days' fits; empty for a model that needs none."""
        model = self.spec.make(self.training.profile)
        found = []
        if isinstance(model, FeatureUser):
            found = [model.feature_cutoffs(self.panel.at(day)) for day in self.days]
        cutoffs = pd.DatetimeIndex(np.unique(np.concatenate(found))) if found else pd.DatetimeIndex([])

        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            del work
            rows = write(folder, self.panel, cutoffs, progress=progress("features")) if len(cutoffs) else 0
            return {"rows": rows}

        return self.store.materialise(
            "replay-features",
            inputs={"panel": self.source.hash},
            config={"cutoffs": [str(cutoff.date()) for cutoff in cutoffs]},
            code=code_version("components.replay", self.spec.module),
            build=build,
        )

    def _seen(self, day: pd.Timestamp) -> Panel:
        return self.panel.at(day, self.panel.horizon)

    def _load(self, fit: Dataset) -> Forecaster:
        return load_class(self.spec.class_path).load(self.store.path(fit) / MODEL)

    def _read(self, made: Dataset) -> Floats:
        values = parquet.read_frame(self.store.path(made) / FORECAST)["yhat"].to_numpy(dtype=np.float64)
        return values.reshape(self.panel.n_series, -1)


def _write(forecast: Forecast, folder: Path) -> None:
    """The point forecasts: rows by series, then day ahead, as the panel has them."""
    frame = forecast.to_frame()[["unique_id", "ds", "yhat"]]
    parquet.write_frame(frame.assign(yhat=frame["yhat"].astype(np.float32)), folder / FORECAST, "zstd")
