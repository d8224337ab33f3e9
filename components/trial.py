"""A trial of a tuning: a model with given parameters, fitted and scored fold by fold.

What a fold gave lies in a work folder until all folds are done, so a trial whose process was killed goes on.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from storecast.backtest import cv_rows
from storecast.metrics import squared_log_error
from storecast.models.base import FitContext, Forecaster
from storecast.models.catalogue import ModelSpec, load_class
from storecast.panel import Panel
from storecast.search_space import configured, with_values
from storecast.store.draft import draft_of

SCORE = "score.json"


@dataclass(frozen=True)
class Measure:
    """How the trials of a study are measured.

    Attributes:
        spec: the model.
        base: its parameters, of which a trial changes some.
        panel: what tuning may see, up to the end of the last fold.
        cutoffs: of the folds, the earliest first.
        seed: of every fit.
        features: folder of the feature table, or None.
        work: folder of the trials under way.
    """

    spec: ModelSpec
    base: Mapping[str, Any]
    panel: Panel
    cutoffs: Sequence[pd.Timestamp]
    seed: int
    features: Path | None
    work: Path

    def made(self, values: Mapping[str, Any]) -> Forecaster:
        """An unfitted model with other values of some parameters, by path."""
        config = configured(self.spec, with_values(self.base, values), f"model {self.spec.name!r}")
        return load_class(self.spec.class_path)(config)

    def score(
        self, values: Mapping[str, Any], trial: int, threads: int, folded: Callable[[], None]
    ) -> Iterator[float]:
        """The RMSLE pooled over the folds so far, after each; a fit starts from the one of the fold before.

        Args:
            values: of the parameters to change, by path.
            trial: number that is the same when the trial is tried again.
            threads: cores a fit may use.
            folded: called after each fold.
        """
        work, errors, rows = self.work / str(trial), 0.0, 0
        before: Path | None = None
        try:
            for cutoff in self.cutoffs:
                folder = work / str(cutoff.date())
                if not (folder / SCORE).exists():
                    self._fold(values, cutoff, folder, before, threads)
                error, count = json.loads((folder / SCORE).read_text())
                errors, rows, before = errors + error, rows + count, folder
                folded()
                yield math.sqrt(errors / rows) if rows else math.nan
        except GeneratorExit:  # it was pruned; one that is killed or interrupted keeps its folder
            shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)

    def _fold(
        self,
        values: Mapping[str, Any],
        cutoff: pd.Timestamp,
        folder: Path,
        before: Path | None,
        threads: int,
    ) -> None:
        """Fit at a cutoff and score the horizon after it; the last file says that all is there."""
        panel, model = self.panel.at(cutoff, self.panel.horizon), self.made(values)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        context = FitContext(
            seed=self.seed,
            threads=threads,
            workdir=folder / "work",
            previous=load_class(self.spec.class_path).load(before / "model") if before else None,
            features=self.features,
        )
        model.fit(panel, context)
        shutil.rmtree(folder / "model", ignore_errors=True)
        (folder / "model").mkdir()
        model.save(folder / "model")
        cv = cv_rows(self.panel, self.spec.name, cutoff, model.forecast(panel).to_frame())
        known = cv[cv["y"].notna()]
        errors = squared_log_error(known["y"].to_numpy(np.float64), known["yhat"].to_numpy(np.float64))
        with draft_of(folder / SCORE) as draft:
            draft.write_text(json.dumps([float(errors.sum()), len(known)]))
