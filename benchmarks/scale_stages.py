"""The stages that `benchmarks.scale` grows the panel for, each as one call with its units."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.scale_data import DAYS, FAMILIES, HORIZON, NAME, STORES, publish, write_raw

TRAINING = """name: scale
models: [naive, gbm]
profile: quick
folds: 1
"""
SHARD = 250


@dataclass(frozen=True)
class Done:
    """What a stage was asked for and took.

    Attributes:
        units: how many rows or series, by which its time is told.
        unit: which of them.
        seconds: wall time, imports left out.
        cpu: processor seconds of this process and those it waited for.
        output: URI of what it made.
    """

    units: int
    unit: str
    seconds: float
    cpu: float
    output: str


class Ground:
    """The folder of one size: raw files, data sets, and what each stage made."""

    def __init__(self, folder: Path, size: float) -> None:
        self.folder, self.size = folder / f"{size:g}", size
        self.wanted = round(STORES * size) * FAMILIES
        self.workspace = str(self.folder / "store")
        self.made: dict[str, str] = {}
        self._file = self.folder / "made.json"
        if self._file.exists():
            self.made = json.loads(self._file.read_text())
        self.folder.mkdir(parents=True, exist_ok=True)
        self.training = self.folder / "training.yaml"
        self.training.write_text(TRAINING)

    def keep(self, stage: str, uri: str) -> None:
        """Remember what a stage made."""
        self.made[stage] = uri
        self._file.write_text(json.dumps(self.made, indent=1))

    def need(self, stage: str) -> str:
        """What an earlier stage made."""
        if stage not in self.made:
            sys.exit(f"size {self.size:g}: run stage {stage} first")
        return self.made[stage]

    def raw(self) -> tuple[str, str]:
        """The data set config and the folder of the raw files."""
        folder = self.folder / "raw"
        return str(folder / f"{NAME}.yaml"), str(folder)

    def about(self) -> dict[str, Any]:
        """The panel's own description."""
        content: dict[str, Any] = json.loads((Path(self.need("ingest")) / "panel.json").read_text())
        return content

    @property
    def series(self) -> int:
        """Series of the panel."""
        return int(self.about()["series"])

    @property
    def rows(self) -> int:
        """Rows of the panel's history."""
        about = self.about()
        return int(about["series"]) * (int(about["dates"]) - HORIZON)

    def fold(self) -> str:
        """The fold's cutoff."""
        about = self.about()
        return str((pd.Timestamp(about["cutoff"]) - pd.Timedelta(days=HORIZON)).date())


Call = Callable[[], str]
Stage = Callable[[Ground], tuple[Call, int, str]]


def raw(ground: Ground) -> tuple[Call, int, str]:
    """Write the raw files (no stage of ours; told to know how large they are)."""
    rows = ground.wanted * DAYS
    return lambda: str(write_raw(ground.folder / "raw", ground.size)), rows, "row"


def partition(ground: Ground) -> tuple[Call, int, str]:
    """Raw files cut into data sets of as many series as Store Sales has."""
    from components import partition as stage

    rows = ground.wanted * DAYS
    config, data = ground.raw()
    return (
        lambda: _path(stage.run(config, data, STORES * FAMILIES, workspace=ground.workspace)),
        rows,
        "row",
    )


def ingest(ground: Ground) -> tuple[Call, int, str]:
    """Raw files to panel."""
    from components import ingest as stage

    rows = ground.wanted * DAYS
    config, data = ground.raw()
    return lambda: _path(stage.run(config, data, workspace=ground.workspace)), rows, "row"


def features(ground: Ground) -> tuple[Call, int, str]:
    """Panel to feature table."""
    from components import features as stage

    panel = ground.need("ingest")
    return lambda: _path(stage.run(panel, str(ground.training), ground.workspace)), ground.rows, "row"


def _train(ground: Ground, model: str, cutoff: str, shard: str = "") -> Call:
    from components import train as stage

    table = ground.made.get("features", "") if model == "gbm" else ""
    return lambda: _path(
        stage.run(
            ground.need("ingest"),
            model,
            cutoff,
            str(ground.training),
            table,
            shard=shard,
            workspace=ground.workspace,
        )
    )


def _shard(model: str) -> Stage:
    """One shard of a local model, from the middle of the panel."""

    def stage(ground: Ground) -> tuple[Call, int, str]:
        count = max(1, round(ground.series / SHARD))
        shard = f"{(count + 1) // 2}/{count}"
        return _train(ground, model, ground.fold(), shard), round(ground.series / count), "series"

    return stage


def _whole(model: str, cutoff: str) -> Stage:
    def stage(ground: Ground) -> tuple[Call, int, str]:
        at = ground.fold() if cutoff == "fold" else "last"
        return _train(ground, model, at), ground.series, "series"

    return stage


def evaluate(ground: Ground) -> tuple[Call, int, str]:
    """Folds' forecasts to scores, weights and intervals."""
    from components import evaluate as stage

    fits = [ground.need("naive"), ground.need("boosting")]
    panel = ground.need("ingest")
    return (
        lambda: _path(stage.run(panel, fits, str(ground.training), ground.workspace)),
        ground.series,
        "series",
    )


def gate(ground: Ground) -> tuple[Call, int, str]:
    """Scores to a decision."""
    from components import gate as stage

    panel, scores = ground.need("ingest"), ground.need("evaluate")
    return (
        lambda: _path(stage.run(panel, scores, "", str(ground.training), ground.workspace)),
        ground.series,
        "series",
    )


def report(ground: Ground) -> tuple[Call, int, str]:
    """Pictures and the page."""
    from components import report as stage

    panel, scores, verdict = (ground.need(name) for name in ("ingest", "evaluate", "gate"))
    fits = [ground.need("naive_last"), ground.need("boosting_last")]
    return (
        lambda: _path(stage.run(panel, scores, verdict, fits, str(ground.training), ground.workspace)),
        ground.series,
        "series",
    )


def forecast(ground: Ground) -> tuple[Call, int, str]:
    """The fits at the panel's cutoff to forecasts and a bundle."""
    from components import forecast as stage

    panel, scores, verdict = (ground.need(name) for name in ("ingest", "evaluate", "gate"))
    fits = [ground.need("naive_last"), ground.need("boosting_last")]
    return (
        lambda: _path(stage.run(panel, scores, verdict, fits, workspace=ground.workspace)),
        ground.series,
        "series",
    )


def release(ground: Ground) -> tuple[Call, int, str]:
    """Forecast, bundle and report to a release."""
    from components import release as stage

    parts = [ground.need(name) for name in ("ingest", "evaluate", "gate", "forecast", "report")]
    return lambda: str(stage.run(*parts, workspace=ground.workspace).uri), ground.series, "series"


def to_serve(ground: Ground) -> tuple[Call, int, str]:
    """A release of so many series (no stage of ours)."""
    return (
        lambda: publish(ground.folder / "served", ground.size).id,
        ground.wanted,
        "series",
    )


def prepare(ground: Ground) -> tuple[Call, int, str]:
    """The service's process that lays a release out for its workers."""
    from serving import prepare as stage

    home, local = str(ground.folder / "served"), ground.folder / "local" / NAME
    count = ground.wanted
    return lambda: str(stage.prepare(home, NAME, ground.need("to_serve"), local)), count, "series"


def load(ground: Ground) -> tuple[Call, int, str]:
    """A worker of the service maps the release."""
    from serving.table import ReleaseTable

    folder = Path(ground.need("prepare"))
    return lambda: ReleaseTable.open(folder).id, ground.wanted, "series"


STAGES: dict[str, Stage] = {
    "raw": raw,
    "partition": partition,
    "ingest": ingest,
    "features": features,
    "naive": _whole("naive", "fold"),
    "arima": _shard("arima"),
    "prophet": _shard("prophet"),
    "boosting": _whole("gbm", "fold"),
    "evaluate": evaluate,
    "gate": gate,
    "naive_last": _whole("naive", "last"),
    "boosting_last": _whole("gbm", "last"),
    "report": report,
    "forecast": forecast,
    "release": release,
    "to_serve": to_serve,
    "prepare": prepare,
    "load": load,
}


def _path(made: Any) -> str:
    """Where a data set lies."""
    return str(made.uri).removeprefix("file://")


def inside(folder: Path, size: float, name: str) -> Done:
    """Run a stage here."""
    ground = Ground(folder, size)
    call, units, unit = STAGES[name](ground)
    before, began = _cpu(), time.perf_counter()
    output = call()
    done = Done(units, unit, time.perf_counter() - began, _cpu() - before, output)
    ground.keep(name, output)
    return done


def _cpu() -> float:
    return sum(os.times()[:4])
