"""Shards: a local model kept as several, each fitted on some hundred series.

A shard is the unit of parallelism, memory and retry. What fits one knows nothing of the others, so any number
of shards, fitted anywhere and in any order, gives the same forecasts. Processes and pods are the business of
the stage that fits the shards; `Sharded` puts the fitted parts together and forecasts with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from storecast.errors import ModelError, StorecastError
from storecast.models.base import (
    QUANTILES,
    FitContext,
    FitReport,
    Forecast,
    Forecaster,
    ModelConfig,
)
from storecast.models.catalogue import class_path_of, load_class
from storecast.panel import Panel
from storecast.store.draft import draft_of

FILE = "shards.json"
Result = TypeVar("Result")


class ShardedConfig(ModelConfig):
    """Which local model, and how many series a shard holds at most."""

    class_path: str = Field(description='"module:Class" of the local model.')
    params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    size: int = Field(default=200, ge=1, description="Series per shard.")


class Sharded:
    """A local model in parts; forecasts of a series come from the part that was fitted on it."""

    scope: ClassVar[Literal["local", "global"]] = "local"
    Config: ClassVar[type[ModelConfig]] = ShardedConfig

    def __init__(self, config: ShardedConfig) -> None:
        self.config = config
        self._parts: list[Forecaster] = []
        self._ids: list[NDArray[np.object_]] = []

    @classmethod
    def of(cls, parts: Sequence[Forecaster], ids: Sequence[Sequence[str] | NDArray[np.object_]]) -> Self:
        """Fitted parts as one model.

        Args:
            parts: the fitted shards, all of one class and configuration.
            ids: for each part, the unique_ids that it was fitted on.

        Raises:
            ModelError: parts and ids differ in number, there are none, or a series is in two parts.
        """
        if not parts or len(parts) != len(ids):
            raise ModelError(
                "shards and their series do not go together",
                expected="at least one shard, and one list of series for each",
                found=f"{len(parts)} shards, {len(ids)} lists",
            )
        config = getattr(parts[0], "config", None)
        params = config.model_dump(mode="json") if isinstance(config, ModelConfig) else {}
        size = max(1, *(len(part) for part in ids))
        model = cls(ShardedConfig(class_path=class_path_of(parts[0]), params=params, size=size))
        model._parts = list(parts)
        model._ids = [np.array([str(uid) for uid in part], dtype=object) for part in ids]
        everyone = pd.Index(np.concatenate(model._ids))
        if not everyone.is_unique:
            raise ModelError(
                "a series is in more than one shard", found=str(everyone[everyone.duplicated()][0])
            )
        return model

    def __len__(self) -> int:
        """Number of shards."""
        return len(self._parts)

    def part(self, index: int) -> Forecaster:
        """The fitted shard at a position, counted from 0.

        Raises:
            ModelError: there is no such shard.
        """
        if not 0 <= index < len(self):
            raise ModelError("there is no such shard", expected=f"0..{len(self) - 1}", found=str(index))
        return self._parts[index]

    def fit(self, panel: Panel, context: FitContext) -> FitReport:
        """Fit shard after shard in this process.

        Raises:
            ModelError: a shard failed; the error names it.
        """
        cls = load_class(self.config.class_path)
        previous = context.previous if isinstance(context.previous, Sharded) else None
        parts, ids, reports = [], [], []
        for number, rows in enumerate(shard_bounds(panel.n_series, self.config.size)):
            part, some = cls(cls.Config(**self.config.params)), panel.select(rows)
            known = previous.part(number) if previous and number < len(previous) else None
            shard_context = FitContext(
                seed=context.seed,
                threads=context.threads,
                previous=known,
                features=context.features,
                progress=_shifted(context.progress, rows.start, panel.n_series),
            )
            reports.append(_named(number, some, partial(part.fit, some, shard_context)))
            parts.append(part)
            ids.append(some.ids)
        self._parts, self._ids = parts, ids
        fallbacks = tuple(f for report in reports for f in report.fallbacks)
        return FitReport(fallbacks, {"shards": [report.info for report in reports]})

    def forecast(self, panel: Panel) -> Forecast:
        """Forecast each series with its shard.

        Raises:
            ModelError: the panel holds a series that no shard was fitted on, or a shard failed.
        """
        shape = (panel.n_series, panel.horizon)
        point, quantiles = np.zeros(shape), np.zeros((*shape, len(QUANTILES)))
        found = np.zeros(panel.n_series, dtype=bool)
        for number, (part, ids) in enumerate(zip(self._parts, self._ids, strict=True)):
            rows = np.flatnonzero(pd.Index(ids).get_indexer(pd.Index(panel.ids)) >= 0)
            if len(rows) == 0:
                continue
            some = panel.select(rows)
            forecast = _named(number, some, partial(part.forecast, some))
            point[rows], quantiles[rows], found[rows] = forecast.point, forecast.quantiles, True
        if not found.all():
            unknown = [str(uid) for uid in panel.ids[~found]]
            raise ModelError(
                f"no shard was fitted on {len(unknown)} of the {panel.n_series} series asked for",
                expected="series of the panel that the model was fitted on",
                found=", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else ""),
                cure="fit the model on a panel that holds them",
            )
        return Forecast(panel.ids, panel.future_dates, point, quantiles)

    def save(self, folder: Path) -> None:
        """Write shards/000/, shards/001/, ... by each part's own save, and which series they hold."""
        for number, part in enumerate(self._parts):
            (folder / _name(number)).mkdir(parents=True)
            part.save(folder / _name(number))
        content = {"config": self.config.model_dump(mode="json"), "ids": [list(ids) for ids in self._ids]}
        with draft_of(folder / FILE) as draft:
            draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; only classes that implement Forecaster are loaded."""
        content = json.loads((folder / FILE).read_text())
        model = cls(ShardedConfig(**content["config"]))
        model._ids = [np.array(ids, dtype=object) for ids in content["ids"]]
        part_class = load_class(model.config.class_path)
        model._parts = [part_class.load(folder / _name(number)) for number in range(len(model._ids))]
        return model


def shard_count(n_series: int, size: int) -> int:
    """How many shards of at most `size` series hold all of them."""
    return max(1, -(-n_series // size))


def shard_rows(n_series: int, number: int, count: int) -> slice:
    """The series of shard `number`, counted from 1, of `count` contiguous and nearly equal ones."""
    return slice(round((number - 1) * n_series / count), round(number * n_series / count))


def shard_bounds(n_series: int, size: int) -> list[slice]:
    """All shards of at most `size` series, in order."""
    count = shard_count(n_series, size)
    return [shard_rows(n_series, number, count) for number in range(1, count + 1)]


def _name(number: int) -> str:
    return f"shards/{number:03d}"


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int, int], None]:
    """Progress of a shard as progress of the whole."""
    return lambda done, _: progress(start + done, total)


def _named(number: int, panel: Panel, work: Callable[[], Result]) -> Result:
    """Do a shard's work; an error says which shard it was."""
    try:
        return work()
    except (StorecastError, ArithmeticError, ValueError, LookupError, RuntimeError) as error:
        raise ModelError(
            f"a shard failed: {error}",
            where=f"shard {number} ({panel.ids[0]} to {panel.ids[-1]})",
            found=type(error).__name__,
        ) from error
