"""What a tuning may choose: for each parameter of a model its range, as configs/search_spaces/*.yaml say it.

A parameter is named by its path in the model's configuration: `hidden`, or `boosters.0.rounds` for the
first of a list. The rest of the configuration is as the model's profile says.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from storecast.configs import config_file, explain
from storecast.errors import ConfigError
from storecast.models.base import ModelConfig
from storecast.models.catalogue import ModelSpec, load_class
from storecast.yaml_model import load_yaml_model

Scalar: TypeAlias = bool | int | float | str


class _Range(BaseModel):
    """A number between two others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    log: bool = Field(default=False, description="Try ratios rather than differences; needs low above 0.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("a log range needs a low above 0")
        return self

    def ends(self) -> tuple[Any, ...]:
        """The values that the model's configuration must accept."""
        return self.low, self.high

    def holds(self, value: object) -> bool:
        """Whether a value lies in it."""
        return isinstance(value, int | float) and self.low <= value <= self.high


class FloatRange(_Range):
    """A real number."""

    type: Literal["float"]


class IntRange(_Range):
    """A whole number."""

    type: Literal["int"]
    low: int
    high: int


class Choices(BaseModel):
    """One of some values, of any kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["choice"]
    choices: tuple[Any, ...] = Field(min_length=2)

    def ends(self) -> tuple[Any, ...]:
        """The values that the model's configuration must accept."""
        return self.choices

    def holds(self, value: object) -> bool:
        """Whether it is one of them."""
        return value in self.choices


Parameter: TypeAlias = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


class SearchSpace(BaseModel):
    """A search space's YAML file: parameters by path; a profile named there has a space of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    params: dict[str, Parameter] = Field(min_length=1)
    profiles: dict[str, dict[str, Parameter]] = Field(default_factory=dict)

    def of(self, profile: str) -> Mapping[str, Parameter]:
        """The parameters to choose where the model has this profile."""
        return self.profiles.get(profile, self.params)


def load_search_space(name: str) -> SearchSpace:
    """A search space by name (a file of configs/search_spaces, named as its model), path or URI.

    Raises:
        ConfigError: there is no such file, or it is wrong.
    """
    return load_yaml_model(config_file(name, "search_spaces"), SearchSpace)


def check_space(space: Mapping[str, Parameter], spec: ModelSpec, profile: str, where: str) -> None:
    """Raise a ConfigError where a parameter is not the model's, or the model refuses a value of its range."""
    base = spec.config(profile).model_dump(mode="json")
    for path, parameter in space.items():
        value_at(base, path, where)
        for value in parameter.ends():
            configured(spec, with_values(base, {path: value}), f"{where}: {path} = {value!r}")


def configured(spec: ModelSpec, params: Mapping[str, Any], where: str) -> ModelConfig:
    """The model's configuration from its parameters.

    Raises:
        ConfigError: the model refuses them.
    """
    config = load_class(spec.class_path).Config
    try:
        return config.model_validate(dict(params))
    except ValidationError as error:
        raise explain(error, where=where, model=config) from error


def value_at(params: Mapping[str, Any], path: str, where: str) -> Any:
    """The value that a path leads to.

    Raises:
        ConfigError: it leads nowhere; the error names the nearest parameter.
    """
    value: Any = params
    for part in path.split("."):
        inner = _inner(value, part)
        if inner is None:
            known = sorted(_paths(params))
            near = difflib.get_close_matches(path, known, n=1, cutoff=0.0)
            raise ConfigError(
                f"the model has no parameter {path!r}",
                where=where,
                expected=f"one of {', '.join(known)}",
                cure=f"did you mean {near[0]!r}?" if near else "",
            )
        value = inner[0]
    return value


def with_values(params: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters with other values at some paths, which must lead somewhere."""
    changed: Any = copy.deepcopy(dict(params))
    for path, value in values.items():
        *way, last = path.split(".")
        owner = changed
        for part in way:
            owner = owner[int(part)] if isinstance(owner, list) else owner[part]
        owner[int(last) if isinstance(owner, list) else last] = value
    return dict(changed)


def _inner(value: Any, part: str) -> tuple[Any] | None:
    """What a part of a path leads to, in a tuple; None where it leads nowhere."""
    if isinstance(value, dict):
        return (value[part],) if part in value else None
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return (value[int(part)],)
    return None


def _paths(value: Any, before: str = "") -> Iterator[str]:
    """The paths of all parameters; a list of plain values is one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{before}{name}.")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from _paths(inner, f"{before}{number}.")
    else:
        yield before.removesuffix(".")
