"""Stage: choose a model's parameters by trying others on folds that the backtest does not score.

    python -m components.tune --panel URI --model gbm --training quick --trials 20
    python -m components.tune --panel URI --model lstm --storage postgresql://... --jobs 1

A trial fits the model at each fold's cutoff and is scored by the RMSLE pooled over the folds so far. Run with
the same options in several pods, with a database that all of them reach, they share the trials.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from components.pool import run_in_processes
from components.stage import PanelUri, Training, Workspace, main, progress
from components.study import (
    best_trial,
    chosen,
    default_trial,
    finished_trials,
    go_on,
    trials_table,
    work,
)
from components.tuning import Tuning
from storecast.errors import ModelError
from storecast.models.catalogue import load_spec
from storecast.search_space import check_space, with_values
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset

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
    work_in_processes(asked, int(trials), time.time() + 60 * limit if limit else None, int(jobs))
    return outcome(asked)


def work_in_processes(tuning: Tuning, trials: int, deadline: float | None, jobs: int) -> None:
    """Work on the study until it has so many trials; `deadline` is a time.time()."""
    done = go_on(tuning.place)
    left = max(trials - done, 0)
    count = min(jobs or (load_settings().cores if tuning.local else 1), left)
    if not count:
        return
    tuning.measure()  # the features are built once, before several processes want them
    steps, before = len(tuning.cutoffs), done * len(tuning.cutoffs)
    report = progress(f"tune {tuning.spec.name}")
    calls = [_Work(tuning, trials, deadline, max(1, load_settings().cores // count))] * count
    run_in_processes(_work, calls, count, left * steps, lambda n, _: report(before + n, trials * steps))


def outcome(tuning: Tuning) -> Dataset:
    """What the study has come to, as a data set named by its trials."""
    study = tuning.place.open()
    finished, default, best = finished_trials(study), default_trial(study), best_trial(study)
    if default is None or best is None:
        raise ModelError(
            "no trial was finished in time",
            where=f"study {tuning.place.name}",
            cure="give it more time; what was measured is kept, and the same command goes on",
        )
    values = {} if best.number == default.number else chosen(best, tuning.place)
    table = trials_table(study, tuning.place)

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        scores = {"rmsle": best.value, "default": default.value}
        parquet.write_frame(table, folder / TRIALS)
        about = {**tuning.about(), **scores, "best": best.number, "values": values}
        about["params"] = with_values(tuning.base, values)
        (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
        return {"trials": len(finished), **scores}

    measured = [[t.number, t.state.name, t.value] for t in finished]
    return tuning.store.materialise(
        "tune",
        inputs={"panel": tuning.store.open(tuning.panel).hash},
        config={"study": tuning.place.name, "trials": measured},
        code=code_version("components.tune", tuning.spec.module),
        build=build,
    )


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
    report, done = progress(f"tune {asked.tuning.spec.name}"), 0

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


if __name__ == "__main__":
    main(run)
