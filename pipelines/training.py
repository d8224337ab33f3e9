"""The training flow: from raw files to a released forecast, as a Prefect flow over the stages.

Each task is a stage of `components`, unchanged; what has been made already is found, not made again, so a
rerun takes seconds and a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pandas as pd
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from components import mlflow_client
from pipelines.pods import MOST_WAITING, PodOptions, executor_for
from pipelines.progress import shown_on_the_run
from pipelines.steps import Outcome, TrainingRun
from storecast.actuals import KEPT
from storecast.ingest.quality import sentences
from storecast.settings import load_settings
from storecast.store.datasets import DatasetStore
from storecast.training_config import NAIVE


@flow(
    name="train",
    flow_run_name="{dataset} with {training}",
    persist_result=False,
    task_runner=cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=MOST_WAITING)),
)
def training_flow(
    dataset: str = "store_sales",
    data: str = "",
    training: str = "full",
    workspace: str = "",
    pods: PodOptions | None = None,
    actuals: str = KEPT,
    shadow: bool = False,
) -> Outcome:
    """Train, evaluate and release a forecast.

    Args:
        dataset: Data set config, by name or file.
        data: Folder or URI of the raw files.
        training: Training config, by name or file.
        workspace: Where data sets and releases lie; empty: as the settings say.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
        actuals: URI of what has arrived since the raw files; kept: what the workspace has; empty: nothing.
        shadow: Leave a challenger that passed the gate in shadow, beside the champion.
    """
    size = (pods.shard_size or 0) if pods else 0
    run = TrainingRun(executor_for(pods), dataset, data, training, workspace, size, actuals, shadow)
    with shown_on_the_run():
        outcome = run.run()
    _show(outcome, run.store)
    return outcome


def _show(outcome: Outcome, store: DatasetStore) -> None:
    """On the run's page: the comparison, the gate's reasons, the ways to MLflow and the release, the rows."""
    show_comparison(store.path(outcome.evaluation))
    lines = [f"- {reason}" for reason in reasons(store.path(outcome.decision))]
    if outcome.behind:
        lines += ["", outcome.behind]
    if outcome.current:
        lines += ["", f"Current release: `{outcome.current.id}` at `{outcome.current.uri}`"]
    link = mlflow_client.page(load_settings(), str(outcome.tracked.counts["run_id"]))
    lines += ["", f"In MLflow: [{link}]({link})" if link.startswith("http") else f"In MLflow: `{link}`"]
    create_markdown_artifact(key="decision", markdown="\n".join(["## The gate", "", *lines]))
    rows = [f"- {line}" for line in sentences(outcome.panel.counts)]
    create_markdown_artifact(key="data", markdown="\n".join(["## The rows", "", *rows]))


def show_comparison(evaluation: Path) -> None:
    """The comparison, on the run's page."""
    table = comparison(evaluation)
    create_table_artifact(key="comparison", table=json.loads(table.round(4).to_json(orient="records")))


def comparison(evaluation: Path) -> pd.DataFrame:
    """Scores of each model on the last fold, the best first, with its gain over the seasonal naive."""
    scores = pd.DataFrame(json.loads((evaluation / "scores.json").read_text()))
    last = scores[scores["cutoff"] == scores["cutoff"].max()].sort_values("rmsle")
    naive = float(last.loc[last["model"] == NAIVE, "rmsle"].iloc[0])
    columns = ["model", "rmsle", "vs_naive", "mae", "wape", "mase", "bias", "coverage_80", "coverage_95"]
    gains: pd.DataFrame = last.assign(vs_naive=last["rmsle"] / naive - 1)
    return gains[columns].reset_index(drop=True)


def reasons(decision: Path) -> list[str]:
    """The gate's reasons, in sentences."""
    return [str(reason) for reason in json.loads((decision / "decision.json").read_text())["reasons"]]
