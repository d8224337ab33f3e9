"""The models by name: a YAML file each, naming the class and its parameters. No list in code."""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypeIs

from storecast.configs import config_file, explain
from storecast.errors import ConfigError
from storecast.models.base import Forecaster, ModelConfig
from storecast.yaml_model import load_yaml_model


class ModelSpec(BaseModel):
    """What a model's YAML file says.

    Attributes:
        name: the model's name in tables and pictures.
        gpu: whether it trains faster on a GPU, where there is one.
        class_path: "module:Class" of a Forecaster.
        params: its parameters, checked by the class's own Config.
        profiles: named overrides of params, such as `quick`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    class_path: str = Field(alias="class", pattern=r"^[\w.]+:\w+$")
    gpu: bool = False
    params: dict[str, Any] = Field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def module(self) -> str:
        """The module of the class."""
        return self.class_path.split(":")[0]

    def config(self, profile: str | None = None) -> ModelConfig:
        """The class's parameters under a profile; a profile the file does not name changes nothing.

        Raises:
            ConfigError: a parameter is unknown or has a wrong value.
        """
        cls = load_class(self.class_path)
        values = {**self.params, **self.profiles.get(profile or "", {})}
        try:
            return cls.Config(**values)
        except ValidationError as error:
            raise explain(error, where=f"model {self.name!r}", model=cls.Config) from error

    def make(self, profile: str | None = None) -> Forecaster:
        """A new, unfitted model."""
        return load_class(self.class_path)(self.config(profile))


def load_spec(name: str) -> ModelSpec:
    """The spec of a model by name (a file of configs/model_configs) or by the path or URI of its YAML file.

    Raises:
        ConfigError: there is no such file, or it is wrong.
    """
    return load_yaml_model(config_file(name, "model_configs"), ModelSpec)


def load_class(class_path: str) -> type[Forecaster]:
    """The Forecaster class that "module:Class" names.

    Raises:
        ConfigError: there is no such module or class, or it is not a Forecaster.
    """
    module_name, _, class_name = class_path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"there is no module {error.name!r}",
            where=class_path,
            expected='"module:Class" of a forecaster that this Python can import',
            cure="check the model's YAML file; install the module's package here, on Kubernetes "
            "in the images (docs/adding-a-model.md)",
        ) from error
    cls = getattr(module, class_name, None)
    if not inspect.isclass(cls) or not _is_forecaster(cls):
        classes = [n for n, c in inspect.getmembers(module, inspect.isclass) if _is_forecaster(c)]
        near = difflib.get_close_matches(class_name, classes, n=1)
        raise ConfigError(
            f"{class_name!r} is not a forecaster of {module_name}",
            where=class_path,
            expected=f"one of {', '.join(classes) or 'none: the module has no forecaster'}",
            cure=f"did you mean {near[0]!r}?"
            if near
            else "implement scope, Config, fit, forecast, save, load",
        )
    return cls


def uses_features(spec: ModelSpec) -> bool:
    """Whether the model learns from the feature table."""
    return hasattr(load_class(spec.class_path), "feature_cutoffs")


def class_path_of(model: Forecaster) -> str:
    """ "module:Class" of a model, for a bundle that is to be loaded again."""
    return f"{type(model).__module__}:{type(model).__name__}"


def _is_forecaster(cls: type) -> TypeIs[type[Forecaster]]:
    wanted = ("scope", "Config", "fit", "forecast", "save", "load")
    return cls is not Forecaster and all(hasattr(cls, name) for name in wanted)
