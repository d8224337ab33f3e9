"""The model of the release, asked "what if": loaded beside the old one, probed against what it released."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serving.table import DECIMALS, ReleaseTable
from serving.watcher import Watcher
from storecast.errors import ReleaseError
from storecast.panel import Floats
from storecast.partition.joined import load_bundle
from storecast.settings import Settings

PROBED = 5
TOLERANCE = 1e-3
"""How far, relatively, the model may be from what it released: another machine rounds otherwise."""
log = logging.getLogger("storecast.serving")


class LoadedModel:
    """A release's model beside its forecasts.

    Raises:
        ReleaseError: the model forecasts something else than was released.
    """

    def __init__(self, folder: Path) -> None:
        self.table = ReleaseTable.open(folder)
        self.bundle = load_bundle(folder / "bundle")
        ids = {str(name): row for row, name in enumerate(self.bundle.ids)}
        self._positions = np.array([ids[name[0]] for name in self.table.names], dtype=np.int64)
        self._probe()

    def _probe(self) -> None:
        rows = np.unique(np.linspace(0, len(self.table.names) - 1, PROBED).astype(np.int64))
        told = self._forecast(rows, {}, [])
        stored = self.table.values[rows]
        if not np.allclose(told, stored, rtol=TOLERANCE, atol=TOLERANCE):
            raise ReleaseError(
                f"release {self.table.id} is refused: its model does not forecast what was released",
                expected=f"the stored forecasts of {len(rows)} series within {TOLERANCE:g}",
                found=f"a difference of {np.abs(told - stored).max():.4g}",
                cure="activate another release, or run the pipeline again",
            )

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Baseline, changed forecast and difference of the series of a question."""
        rows = np.array([item["row"] for item in question["series"]], dtype=np.int64)
        changed = self._forecast(rows, _by_name(question["series"]), question["events"])
        stored = self.table.values[rows]
        return {
            "release": self.table.id,
            "series": [
                self._series(int(row), before, after)
                for row, before, after in zip(rows, stored, changed, strict=True)
            ],
            "unknown": question["unknown"],
        }

    def _series(self, row: int, before: Floats, after: Floats) -> dict[str, Any]:
        names = dict(zip(("unique_id", *self.table.keys), self.table.names[row], strict=True))
        return {
            **names,
            "ds": self.table.dates,
            "baseline": self._columns(before),
            "what_if": self._columns(after),
            "difference": np.round(after[:, 0] - before[:, 0], DECIMALS).tolist(),
        }

    def _columns(self, values: Floats) -> dict[str, list[float]]:
        rounded = np.round(values, DECIMALS)
        return {name: rounded[:, i].tolist() for i, name in enumerate(self.table.columns)}

    def _forecast(
        self,
        rows: np.ndarray[Any, Any],
        known: Mapping[str, Mapping[int, Mapping[str, float]]],
        events: Sequence[Any],
    ) -> Floats:
        """(rows, H, C) forecasts, with other covariates (by name, row, date) and more events."""
        changes = {
            name: {int(self._positions[row]): values for row, values in by_row.items()}
            for name, by_row in known.items()
        }
        forecast = self.bundle.what_if(self._positions[rows], changes, pd.DataFrame(events))
        return np.concatenate([forecast.point[:, :, None], forecast.quantiles], axis=-1)


class ModelHost:
    """The model of the current release; its watcher is the judge that the workers wait for."""

    def __init__(self, settings: Settings) -> None:
        self._watcher = Watcher(settings, LoadedModel, judge=True)
        self._watcher.start()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question by itself: what breaks the model at one leaves its neighbours alone.

        {"refused": why} where the asker has another release than is loaded; {"failed": why} where there is
        no answer, or nobody waits for it any more.
        """
        if time.time() > question["until"]:
            return {"failed": "nobody waits for the answer any more"}
        try:
            for model in (self._watcher.value, *self._earlier()):
                if model is not None and model.table.id == question["release"]:
                    return model.answer(question)
        except Exception:  # the log has it, the asker gets no trace
            log.exception("the model could not answer a question")
            return {"failed": "the model could not answer"}
        return {"refused": "this release's model is not loaded"}

    def stop(self) -> None:
        """Follow the release no longer."""
        self._watcher.stop()

    def _earlier(self) -> list[LoadedModel]:
        return [self._watcher.before[1]] if self._watcher.before else []


def _by_name(series: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, dict[str, float]]]:
    found: dict[str, dict[int, dict[str, float]]] = {}
    for item in series:
        for name, values in item["known"].items():
            found.setdefault(name, {})[int(item["row"])] = values
    return found
