"""What a training run does: which models, how many folds, how the gate decides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from storecast.configs import config_file
from storecast.errors import ConfigError
from storecast.gate import GateConfig
from storecast.segments import VOLUME
from storecast.yaml_model import load_yaml_model

NAIVE = "naive"


class TrainingConfig(BaseModel):
    """A training run, as configs/training_configs/*.yaml say it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Shown in Prefect, MLflow and the report.")
    models: tuple[str, ...] = Field(
        min_length=1,
        description="Model specs: names of configs/model_configs, or paths or URIs of YAML files.",
    )
    profile: str = Field(default="full", description="Which of the models' parameter profiles to use.")
    folds: int = Field(
        default=3, ge=1, description="Backtest folds of one horizon each, ending at the cutoff."
    )
    blend_segment: str = Field(
        default="volume", description='Blend weights are chosen per value of it: "volume" or a static column.'
    )
    aggregates: str = Field(
        default="gbm_sums",
        description="Spec of the model that forecasts sums (by store, family, ...) as series of their own; "
        '"" for none: sums of the series\' points.',
    )
    gate: GateConfig = Field(default_factory=GateConfig)
    shard_size: int = Field(default=250, ge=1, description="Series per shard of a local model.")
    seed: int = Field(default=0, ge=0, description="Seeds every random choice.")

    @field_validator("models")
    @classmethod
    def _has_naive(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        """The seasonal naive is what everything is measured against."""
        return models if NAIVE in models else (NAIVE, *models)


def load_training_config(name: str) -> TrainingConfig:
    """A training config by name, path or URI.

    Raises:
        ConfigError: there is no such file, or it is wrong.
    """
    return load_yaml_model(config_file(name, "training_configs"), TrainingConfig)


def check_segments(training: str, columns: Iterable[str]) -> None:
    """Refuse segments that a panel does not have, before anything is trained for them.

    Args:
        training: the training config, by name, path or URI.
        columns: the panel's static columns.

    Raises:
        ConfigError: one of them is neither "volume" nor such a column.
    """
    config, there = load_training_config(training), [VOLUME, *map(str, columns)]
    asked = [
        ("blend_segment", config.blend_segment),
        *(("gate.segments", one) for one in config.gate.segments),
    ]
    for key, name in asked:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            raise ConfigError(
                f"{key}: the data set has no such column",
                where=str(config_file(training, "training_configs")),
                expected=f"one of {', '.join(there)}",
                found=name,
                cure=f"did you mean {near[0]!r}?" if near else "",
            )
