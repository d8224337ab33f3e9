"""Stage: choose a model's parameters by trying others on folds that the backtest does not score.

    python -m components.tune --panel URI --model gbm --training quick --trials 20
    python -m components.tune --panel URI --model lstm --storage postgresql://... --jobs 1

A trial fits the model at each fold's cutoff and is scored by the RMSLE pooled over the folds so far. Run with
the same options in several pods, with a database that all of them reach, they share the trials.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from components.pool import run_in_processes
from components.stage import PanelUri, Training, Workspace, main, open_panel, open_store, progress
from components.study import (
    StudyPlace,
    best_trial,
    chosen,
    default_trial,
    finished_trials,
    go_on,
    trials_table,
    work,
)
from components.trial import Measure
from storecast.backtest import fold_cutoffs
from storecast.errors import ModelError
from storecast.features import write
from storecast.models.base import FeatureUser
from storecast.models.catalogue import ModelSpec, load_class, load_spec, uses_features
from storecast.panel import Panel
from storecast.search_space import Parameter, check_space, load_search_space, value_at, with_values
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.training_config import TrainingConfig, load_training_config

LOCAL_SERIES = 200
"""Series that a local model is tuned on where nothing else is said: they are drawn at random, by the seed."""
ABOUT, TRIALS = "tuning.json", "trials.parquet"


def run(
    panel: PanelUri,
    model: Annotated[str, typer.Option(help="Model spec: name or YAML file.")],
    training: Training = "full",
    space: Annotated[str, typer.Option(help="Search space: YAML file; default: the model's own.")] = "",
    trials: Annotated[str, typer.Option(help="Trials that the study shall have.")] = "20",
    minutes: Annotated[str, typer.Option(help="No trial begins after so long; 0: no limit.")] = "0",
    jobs: Annotated[str, typer.Option(help="Processes; 0: one per core for local models, else 1.")] = "0",
    folds: Annotated[str, typer.Option(help="Folds; 0: as many as the training config's.")] = "0",
    series: Annotated[str, typer.Option(help="Series, drawn by the seed; 0: all, or 200 if local.")] = "0",
    storage: Annotated[str, typer.Option(help="SQLAlchemy URL of the study; default: the settings'.")] = "",
    workspace: Workspace = "",
) -> Dataset:
    """Work on a study until it has so many trials, or the time is up.

    Args:
        panel: URI of the panel.
        model: model spec, by name or file.
        training: training config: gives profile, seed, and the folds that tuning must not see.
        space: search space by name or file; "": the one that is named as the model.
        trials: how many finished trials the study shall have, whoever works on it.
        minutes: after so many no trial is begun; "0": no limit.
        jobs: processes that work side by side.
        folds: backtest folds, all before the first that the training config's backtest scores.
        series: how many series, drawn at random by the seed.
        storage: SQLAlchemy URL of the database; "": as the settings say, or SQLite in the home folder.
        workspace: where data sets lie.

    Returns:
        A data set with trials.parquet and tuning.json: the best parameters and those of the profile, with the
        RMSLE of both. Its counts say `trials`, `rmsle` and `default`.

    Raises:
        ConfigError: the search space does not fit the model.
        ModelError: no trial was finished, or the model fails with its own parameters.
    """
    asked = Tuning(panel, model, training, space or load_spec(model).name, storage, workspace)
    asked = replace(asked, folds=int(folds), most_series=int(series))
    check_space(asked.choices, asked.spec, asked.config.profile, f"search space {asked.space}")
    limit = float(minutes)
    asked.work_in_processes(int(trials), time.time() + 60 * limit if limit else None, int(jobs))
    return asked.outcome()


@dataclass(frozen=True)
class Tuning:
    """A study of one model on one panel; see `run` for the attributes."""

    panel: str
    model: str
    training: str
    space: str
    storage: str
    workspace: str
    folds: int = 0
    most_series: int = 0

    def work_in_processes(self, trials: int, deadline: float | None, jobs: int) -> None:
        """Work on the study until it has so many trials; `deadline` is a time.time()."""
        done = go_on(self.place)
        left = max(trials - done, 0)
        count = min(jobs or (load_settings().cores if self.local else 1), left)
        if not count:
            return
        self.measure()  # the features are built once, before several processes want them
        steps, before = len(self.cutoffs), done * len(self.cutoffs)
        report = progress(f"tune {self.spec.name}")
        calls = [_Work(self, trials, deadline, max(1, load_settings().cores // count))] * count
        run_in_processes(_work, calls, count, left * steps, lambda n, _: report(before + n, trials * steps))

    def outcome(self) -> Dataset:
        """What the study has come to, as a data set named by its trials."""
        study = self.place.open()
        finished, default, best = finished_trials(study), default_trial(study), best_trial(study)
        if default is None or best is None:
            raise ModelError(
                "no trial was finished in time",
                where=f"study {self.place.name}",
                cure="give it more time; what was measured is kept, and the same command goes on",
            )
        values = {} if best.number == default.number else chosen(best, self.place)
        table = trials_table(study, self.place)

        def build(folder: Path, work: Path) -> Mapping[str, Any]:
            del work
            scores = {"rmsle": best.value, "default": default.value}
            parquet.write_frame(table, folder / TRIALS)
            about = {**self.about(), **scores, "best": best.number, "values": values}
            about["params"] = with_values(self.base, values)
            (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
            return {"trials": len(finished), **scores}

        measured = [[t.number, t.state.name, t.value] for t in finished]
        return self.store.materialise(
            "tune",
            inputs={"panel": self.store.open(self.panel).hash},
            config={"study": self.place.name, "trials": measured},
            code=code_version("components.tune", self.spec.module),
            build=build,
        )

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
        return open_store(self.workspace)

    @cached_property
    def config(self) -> TrainingConfig:
        return load_training_config(self.training)

    @cached_property
    def spec(self) -> ModelSpec:
        return load_spec(self.model)

    @cached_property
    def choices(self) -> Mapping[str, Parameter]:
        return load_search_space(self.space).of(self.config.profile)

    @cached_property
    def base(self) -> dict[str, Any]:
        """The model's parameters under the profile."""
        return self.spec.config(self.config.profile).model_dump(mode="json")

    @property
    def local(self) -> bool:
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


@dataclass(frozen=True)
class _Work:
    """What a worker process is to do."""

    tuning: Tuning
    trials: int
    deadline: float | None
    threads: int


def _work(asked: _Work) -> int:
    """In a worker process: trials until there are enough; how many were done here."""
    measure, folds = asked.tuning.measure(), len(asked.tuning.cutoffs)
    report, done = progress("trials"), 0

    def folded(count: int) -> None:
        nonlocal done
        done = count
        report(done, asked.trials * folds)

    return work(
        asked.tuning.place,
        lambda values, trial: measure.score(values, trial, asked.threads, lambda: folded(done + 1)),
        asked.trials,
        None if asked.deadline is None else time.monotonic() + asked.deadline - time.time(),
        lambda trials: folded(trials * folds),  # the folds that a pruned trial was spared count, too
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main(run)
