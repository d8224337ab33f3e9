"""A tuning: which model is tuned on which panel, series and folds, and where its study lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.stage import open_panel, open_store, progress
from components.study import StudyPlace
from components.trial import Measure
from storecast.backtest import fold_cutoffs
from storecast.features import write
from storecast.models.base import FeatureUser
from storecast.models.catalogue import ModelSpec, load_class, load_spec, uses_features
from storecast.panel import Panel
from storecast.search_space import Parameter, load_search_space, value_at
from storecast.settings import load_settings
from storecast.store.code import code_version
from storecast.store.datasets import DatasetStore
from storecast.training_config import TrainingConfig, load_training_config

LOCAL_SERIES = 200
"""Series that a local model is tuned on where nothing else is said: they are drawn at random, by the seed."""


@dataclass(frozen=True)
class Tuning:
    """A study of one model on one panel; see `components.tune.run` for the attributes."""

    panel: str
    model: str
    training: str
    space: str
    storage: str
    workspace: str
    folds: int = 0
    most_series: int = 0

    def about(self) -> dict[str, Any]:
        """What is tuned on what."""
        return {
            "study": self.place.name,
            "dataset": self.store.open(self.panel).manifest["config"]["name"],
            "model": {"name": self.spec.name, "class": self.spec.class_path, "gpu": self.spec.gpu},
            "spec": self.model,
            "profile": self.config.profile,
            "space": self.space,
            "cutoffs": [str(cutoff.date()) for cutoff in self.cutoffs],
            "backtest_from": str(self.seen.cutoff.date()),
            "horizon": self.seen.horizon,
            "series": self.seen.n_series,
            "of_series": int(self.store.open(self.panel).counts["series"]),
            "seed": self.config.seed,
        }

    @cached_property
    def store(self) -> DatasetStore:
        """Where data sets lie."""
        return open_store(self.workspace)

    @cached_property
    def config(self) -> TrainingConfig:
        """The training config: profile, seed, and the folds that must not be seen."""
        return load_training_config(self.training)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model."""
        return load_spec(self.model)

    @cached_property
    def choices(self) -> Mapping[str, Parameter]:
        """What may be chosen under the profile, by path."""
        return load_search_space(self.space).of(self.config.profile)

    @cached_property
    def base(self) -> dict[str, Any]:
        """The model's parameters under the profile."""
        return self.spec.config(self.config.profile).model_dump(mode="json")

    @property
    def local(self) -> bool:
        """Whether each series has a fit of its own."""
        return load_class(self.spec.class_path).scope == "local"

    @cached_property
    def seen(self) -> Panel:
        """The panel as known before the first fold that the backtest scores, with the series to tune on."""
        whole = open_panel(self.store, self.panel)
        early = whole.at(fold_cutoffs(whole, self.config.folds)[0], whole.horizon)
        count = self.most_series or (LOCAL_SERIES if self.local else early.n_series)
        if count >= early.n_series:
            return early
        rows = np.random.default_rng(self.config.seed).permutation(early.n_series)[:count]
        return early.select(np.sort(rows))

    @cached_property
    def cutoffs(self) -> list[pd.Timestamp]:
        """Of the folds; the last ends where the backtest's first begins."""
        return fold_cutoffs(self.seen, self.folds or self.config.folds)

    @cached_property
    def place(self) -> StudyPlace:
        """The study of this panel, model, space, folds, seed and code."""
        space = {path: parameter.model_dump(mode="json") for path, parameter in self.choices.items()}
        recipe = {
            "panel": self.store.open(self.panel).hash,
            "class": self.spec.class_path,
            "base": self.base,
            "space": space,
            "cutoffs": [str(cutoff) for cutoff in self.cutoffs],
            "series": self.seen.n_series,
            "seed": self.config.seed,
            "code": code_version("components.tune", self.spec.module),
        }
        settings = load_settings()
        settings.home.mkdir(parents=True, exist_ok=True)
        at_home = f"sqlite:///{settings.home.absolute() / 'tuning.db'}"
        url = self.storage or settings.tuning_storage.get_secret_value() or at_home
        name = f"{self.spec.name}-{_digest(recipe)}"
        lock = self.store.scratch / "locks" / f"tune-{name}"
        defaults = {path: value_at(self.base, path, self.space) for path in self.choices}
        return StudyPlace(url, name, lock, self.choices, defaults, self.config.seed)

    def measure(self) -> Measure:
        """How a trial is measured."""
        work = self.store.scratch / "work" / f"tune-{self.place.name}"
        plain = Measure(self.spec, self.base, self.seen, self.cutoffs, self.config.seed, None, work)
        return replace(plain, features=self._features(plain)) if uses_features(self.spec) else plain

    def _features(self, plain: Measure) -> Path:
        """The feature table of all cutoffs that a trial may learn from: built once for all trials."""
        wanted: set[pd.Timestamp] = set()
        for values in self._corners():
            model = plain.made(values)
            if isinstance(model, FeatureUser):
                for end in self.cutoffs:
                    wanted |= set(model.feature_cutoffs(self.seen.at(end)))

        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            del work
            return {"rows": write(folder, self.seen, wanted, progress=progress("features"))}

        made = self.store.materialise(
            "tune-features",
            inputs={"panel": self.store.open(self.panel).hash},
            config={
                "cutoffs": [str(cutoff) for cutoff in sorted(wanted)],
                "to": str(self.seen.cutoff),
                "ids": _digest(list(self.seen.ids)),
            },
            code=code_version("components.features", self.spec.module),
            build=build,
        )
        return self.store.path(made)

    def _corners(self) -> Iterator[dict[str, Any]]:
        """The profile's own values, and those with one parameter at an end of its range."""
        yield {}
        for path, parameter in self.choices.items():
            yield from ({path: value} for value in parameter.ends())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
