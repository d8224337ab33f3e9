"""The tuning flow: from raw files to a model's better parameters, as a Prefect flow over the stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import pandas as pd
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from components.stage import open_store
from components.tune import ABOUT, TRIALS
from pipelines.executor import Argument
from pipelines.pods import MOST_WAITING, PodOptions, executor_for
from pipelines.progress import shown_on_the_run
from storecast.actuals import KEPT
from storecast.errors import ConfigError
from storecast.models.catalogue import load_spec
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store.datasets import Dataset


@dataclass(frozen=True)
class Tuned:
    """What a tuning came to.

    Attributes:
        tuning: the trials and the best parameters.
        report: the model's config, the picture and the run in MLflow.
    """

    tuning: Dataset
    report: Dataset


@flow(
    name="tune",
    flow_run_name="{model} on {dataset} with {training}",
    persist_result=False,
    task_runner=cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=MOST_WAITING)),
)
def tuning_flow(
    model: str = "gbm",
    dataset: str = "store_sales",
    data: str = "",
    training: str = "full",
    trials: Annotated[int, Field(ge=1)] = 20,
    minutes: Annotated[float, Field(ge=0)] = 0,
    jobs: Annotated[int, Field(ge=0)] = 0,
    folds: Annotated[int, Field(ge=0)] = 0,
    series: Annotated[int, Field(ge=0)] = 0,
    space: str = "",
    storage: str = "",
    workspace: str = "",
    pods: PodOptions | None = None,
) -> Tuned:
    """Choose a model's parameters on folds that the backtest does not score.

    Args:
        model: Model spec, by name or file.
        dataset: Data set config, by name or file.
        data: Folder or URI of the raw files.
        training: Training config, by name or file: its profile is what is tuned.
        trials: Trials that the study shall have; those of an earlier run count.
        minutes: No trial begins after so long; 0: no limit.
        jobs: Processes that work side by side, or pods; 0: one per core for local models, else 1.
        folds: Folds to tune on; 0: as many as the training config's.
        series: Series to tune on, drawn by the seed; 0: all, or 200 for a local model.
        space: Search space, by name or file; empty: the model's own.
        storage: SQLAlchemy URL of the study; empty: as the settings say.
        workspace: Where data sets lie; empty: as the settings say.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
    """
    executor, store, spec = executor_for(pods), open_store(workspace), load_spec(model)
    side_by_side = max(jobs, 1) if executor.fans_out else 1
    if executor.fans_out and not (storage or load_settings().tuning_storage.get_secret_value()):
        raise ConfigError(
            "pods cannot share a study that lies in the home folder",
            where="tuning_storage",
            expected="the SQLAlchemy URL of a database that all pods reach, such as postgresql://...",
            cure="name a secret with the key STORECAST_TUNING_STORAGE in the chart's value "
            "run.tuning.existingSecret; the chart's own PostgreSQL (postgresql.enabled) needs none, but with "
            "postgresql.existingSecret its tuningPassword",
        )
    raw: dict[str, Argument] = {"dataset": dataset, "data": data, "actuals": KEPT, "workspace": workspace}
    arguments: dict[str, Argument] = {
        "model": model,
        "training": training,
        "space": space,
        "trials": str(trials),
        "minutes": str(minutes),
        "jobs": "1" if executor.fans_out else str(jobs),
        "folds": str(folds),
        "series": str(series),
        "storage": storage,
        "workspace": workspace,
    }
    labels = [f"tune {spec.name}" + (f", worker {n}" if n > 1 else "") for n in range(1, side_by_side + 1)]
    with shown_on_the_run():
        given = {**arguments, "panel": executor.submit("ingest", "ingest", raw)}
        workers = [executor.submit("tune", label, given, gpu=spec.gpu) for label in labels]
        made = [worker.result() for worker in workers]
        tuning = max((store.open(uri) for uri in made), key=lambda one: int(one.counts["trials"]))
        last: dict[str, Argument] = {"tuning": tuning.uri, "training": training, "workspace": workspace}
        report = store.open(executor.submit("tune_report", "report", last).result())
    _show(store.path(tuning), report.counts)
    return Tuned(tuning, report)


def _show(folder: Path, counts: Mapping[str, Any]) -> None:
    """The trials, and what was found, on the run's page."""
    table = trials_of(folder / TRIALS)
    create_table_artifact(key="trials", table=json.loads(table.round(4).to_json(orient="records")))
    lines = found(json.loads((folder / ABOUT).read_text()), counts)
    create_markdown_artifact(key="tuning", markdown="\n".join(["## The tuning", "", *lines]))


def found(about: Mapping[str, Any], counts: Mapping[str, Any]) -> list[str]:
    """What a tuning came to, as a Markdown list.

    Args:
        about: what the stage `tune` says of itself, `tuning.json`.
        counts: of the stage `tune_report`.
    """
    measured = (
        f"pooled over the folds after {', '.join(about['cutoffs'])} and {about['series']:,} of "
        f"{about['of_series']:,} series; nothing after {about['backtest_from']} was seen."
    )
    if not counts["training"]:
        return [f"- Nothing better than the default was found: RMSLE {about['default']:.4f}, {measured}"]
    changed = [f"- `{path}`: {value}" for path, value in sorted(about["values"].items())]
    return [
        f"- RMSLE {about['rmsle']:.4f}, the default has {about['default']:.4f}: {counts['gain']:.1%} less, "
        + measured,
        *changed,
        f"- Train with it by the training config `{counts['training']}`",
    ]


def trials_of(path: Path) -> pd.DataFrame:
    """The trials, the best first."""
    return parquet.read_frame(path).sort_values(["rmsle", "trial"]).reset_index(drop=True)
