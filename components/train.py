"""Stage: fit one model at one cutoff and forecast the horizon after it.

    python -m components.train --panel URI --model gbm --cutoff 2017-07-30 --features URI
    python -m components.train --panel URI --model arima --cutoff 2017-07-30 --shard 3/8

Local models are fitted in shards of series, each a data set of its own: the unit of parallelism and of
resuming. Without --shard, the shards that are missing are fitted here, over processes, and merged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from components.pool import run_in_processes
from components.stage import PanelUri, Training, Workspace, main, open_panel, open_store, progress
from storecast.backtest import cutoff_date
from storecast.errors import ConfigError, ModelError
from storecast.metrics import QUANTILE_COLUMNS
from storecast.models.base import FitContext, Forecaster
from storecast.models.catalogue import ModelSpec, class_path_of, load_class, load_spec
from storecast.models.shards import Sharded, shard_count, shard_rows
from storecast.panel import Panel
from storecast.panel_io import read_panel
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.training_config import TrainingConfig, check_segments, load_training_config

REPORT = "report.json"
ALL = 0
WORTH_PROCESSES = 100
"""Series of a local model from which on other processes, which take three seconds to start, are sooner."""


def run(
    panel: PanelUri,
    model: Annotated[str, typer.Option(help="Model spec: name or YAML file.")],
    cutoff: Annotated[str, typer.Option(help="Last date whose sales may be seen; or last, or fold:k/n.")],
    training: Training = "full",
    features: Annotated[str, typer.Option(help="URI of the feature table, for models that use it.")] = "",
    previous: Annotated[str, typer.Option(help="URI of this model's fit at an earlier cutoff.")] = "",
    shard: Annotated[str, typer.Option(help="One shard of a local model, such as 3/8; or all/8.")] = "",
    workspace: Workspace = "",
) -> Dataset:
    """Fit a model at a cutoff, or one of a local model's shards.

    Args:
        panel: URI of the panel.
        model: model spec, by name or file.
        cutoff: the last date that the fit sees, YYYY-MM-DD; "last" is the panel's cutoff, "fold:k/n" that of
            the k-th of n folds.
        training: training config: gives profile, seed and shard size.
        features: URI of the feature table, or "".
        previous: URI of the same model's fit at an earlier cutoff to start from, or "".
        shard: "k/n" for one of n shards of a local model; "all/n" for all of them, put together; "" the
            same, with shards of the training config's size.
        workspace: where data sets lie.

    Returns:
        A data set with model/ (what the model saves), forecast.parquet and report.json.
    """
    if not cutoff[:1].isdigit():  # of a plan, which was made before there was a panel
        whole = open_panel(open_store(workspace), panel)
        check_segments(training, whole.static.columns)
        cutoff = str(cutoff_date(whole, cutoff).date())
    return Fit(panel, model, cutoff, training, features, previous, shard, workspace).run()


@dataclass(frozen=True)
class Fit:
    """One model at one cutoff, or one shard of it; see `run` for the attributes."""

    panel: str
    model: str
    cutoff: str
    training: str
    features: str
    previous: str
    shard: str
    workspace: str

    def run(self) -> Dataset:
        """Fit, forecast and store."""
        local = load_class(self.spec.class_path).scope == "local"
        if local and self.part[0] == ALL:
            return self._all_shards()
        stage = "train-shard" if self.shard else "train"
        return self._materialise(stage, self.shard, self._build)

    @cached_property
    def store(self) -> DatasetStore:
        return open_store(self.workspace)

    @cached_property
    def config(self) -> TrainingConfig:
        return load_training_config(self.training)

    @cached_property
    def spec(self) -> ModelSpec:
        return load_spec(self.model)

    @cached_property
    def part(self) -> tuple[int, int]:
        """Number of the shard, 0 for all; and how many there are, 0 for as many as the config says."""
        return parse_shard(self.shard) if self.shard else (ALL, 0)

    @property
    def label(self) -> str:
        return f"train {self.spec.name} at {self.cutoff}"

    def _materialise(
        self, stage: str, shard: str, build: Callable[[Path, Path], Mapping[str, Any]]
    ) -> Dataset:
        uris = {"panel": self.panel, "features": self.features, "previous": self.previous}
        params = self.spec.config(self.config.profile).model_dump(mode="json")
        return self.store.materialise(
            stage,
            inputs={name: self.store.open(uri).hash for name, uri in uris.items() if uri},
            config={
                "model": {"name": self.spec.name, "class": self.spec.class_path, "params": params},
                "cutoff": self.cutoff,
                "seed": self.config.seed,
                "shard": shard,
            },
            code=code_version("components.train", self.spec.module),
            build=build,
        )

    def _build(self, folder: Path, work: Path) -> Mapping[str, Any]:
        panel = self._series() if self.shard else open_panel(self.store, self.panel)
        seen = panel.at(self.cutoff, panel.horizon)
        forecaster = self.spec.make(self.config.profile)
        context = FitContext(
            seed=self.config.seed,
            threads=1 if self.shard else load_settings().cores,
            workdir=work,
            previous=self._load_previous(),
            features=self.store.path(self.features) if self.features else None,
            progress=progress(self.label),
        )
        report = forecaster.fit(seen, context)
        (folder / "model").mkdir()
        forecaster.save(folder / "model")
        fallbacks = [asdict(fallback) for fallback in report.fallbacks]
        return _write_fit(folder, forecaster, forecaster.forecast(seen).to_frame(), fallbacks, report.info)

    def _series(self) -> Panel:
        """The shard's series, and of the panel little more."""
        number, count = self.part
        series = int(self.store.open(self.panel).counts["series"])
        return read_panel(self.store.path(self.panel), shard_rows(series, number, count))

    def _load_previous(self) -> Forecaster | None:
        if not self.previous:
            return None
        model = load_fit(self.store.path(self.previous))
        number, count = self.part
        if not isinstance(model, Sharded):
            return model
        return model.part(number - 1) if len(model) == count else None  # other shards, other series

    def _all_shards(self) -> Dataset:
        """Fit the shards that are missing over processes, and merge all of them."""
        series = int(self.store.open(self.panel).counts["series"])
        count = self.part[1] or shard_count(series, self.config.shard_size)

        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            del work
            shards = [replace(self, shard=f"{number}/{count}") for number in range(1, count + 1)]
            if series < WORTH_PROCESSES:
                uris = [_run(shard) for shard in shards]
            else:
                uris = run_in_processes(_run, shards, load_settings().cores, series, progress(self.label))
            return self._merge(folder, [self.store.path(uri) for uri in uris])

        return self._materialise("train", f"1..{count}", build)

    def _merge(self, folder: Path, shards: Sequence[Path]) -> Mapping[str, Any]:
        """The shards as one fit: a Sharded model, their forecasts below each other, all fallbacks."""
        forecasts = [parquet.read_frame(shard / "forecast.parquet") for shard in shards]
        ids = [list(forecast["unique_id"].unique()) for forecast in forecasts]
        model = Sharded.of([load_fit(shard) for shard in shards], ids)
        (folder / "model").mkdir()
        model.save(folder / "model")
        forecast = pd.concat(forecasts, ignore_index=True)
        reports = [json.loads((shard / REPORT).read_text()) for shard in shards]
        fallbacks = [fallback for report in reports for fallback in report["fallbacks"]]
        return _write_fit(folder, model, forecast, fallbacks, {"shards": [r["info"] for r in reports]})


def load_fit(folder: Path) -> Forecaster:
    """The fitted model of a data set that this stage made."""
    report = json.loads((folder / REPORT).read_text())
    return load_class(report["class"]).load(folder / "model")


def _run(fit: Fit) -> str:
    """In a worker process: fit one shard, return the data set's URI."""
    return fit.run().uri


def _write_fit(
    folder: Path,
    model: Forecaster,
    forecast: pd.DataFrame,
    fallbacks: Sequence[Mapping[str, str]],
    info: Mapping[str, Any],
) -> Mapping[str, Any]:
    _refuse_no_numbers(forecast, model)
    parquet.write_frame(forecast, folder / "forecast.parquet", "zstd")
    report = {"class": class_path_of(model), "fallbacks": list(fallbacks), "info": dict(info)}
    (folder / REPORT).write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    return {"series": int(forecast["unique_id"].nunique()), "fallbacks": len(fallbacks)}


def _refuse_no_numbers(forecast: pd.DataFrame, model: Forecaster) -> None:
    """Every model that is averaged with this one would have its forecasts spoilt, too."""
    lost = ~np.isfinite(forecast[["yhat", *QUANTILE_COLUMNS]]).all(axis=1)
    if lost.any():
        first = forecast[lost].iloc[0]
        raise ModelError(
            f"{int(lost.sum()):,} of {len(forecast):,} forecasts are no numbers",
            where=class_path_of(model),
            expected="a finite number for each series and date",
            found=f"{first['yhat']} for {first['unique_id']} on {first['ds'].date()}",
            cure="look at this series' sales and covariates for values beyond all others, "
            "or leave the model out of the training config",
        )


def parse_shard(shard: str) -> tuple[int, int]:
    """(k, n) of "k/n"; k is 0 in "all/n".

    Raises:
        ConfigError: it is neither.
    """
    name, _, count = shard.partition("/")
    number = "0" if name == "all" else name
    valid = number.isdigit() and count.isdigit() and (name == "all" or 1 <= int(number) <= int(count))
    if not valid:
        expected = "k/n with 1 ≤ k ≤ n, such as 3/8, or all/n"
        raise ConfigError("not a shard", where=f"--shard {shard}", expected=expected)
    return int(number), int(count)


if __name__ == "__main__":
    main(run)
