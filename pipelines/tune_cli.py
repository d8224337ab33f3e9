"""`storecast tune`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from pipelines.command import run_flow

if TYPE_CHECKING:
    from pipelines.tuning import Tuned

console = Console()
SHOWN = 5


def tune(
    model: Annotated[str, typer.Option(help="Model: lstm, gbm, arima, prophet, or a YAML file of your own.")],
    dataset: Annotated[str, typer.Option(help="Data set config: a YAML file, or a name that ships.")],
    data: Annotated[str, typer.Option(help="Folder or URI of the raw files.")],
    profile: Annotated[
        str, typer.Option(help="Training config whose profile of the model is tuned.")
    ] = "full",
    trials: Annotated[int, typer.Option(help="Trials in all; those of an earlier run count.", min=1)] = 20,
    timeout: Annotated[float, typer.Option(help="Minutes after which no trial begins; 0: none.", min=0)] = 0,
    jobs: Annotated[
        int, typer.Option(help="Processes; 0: one per core for local models, else 1.", min=0)
    ] = 0,
    folds: Annotated[int, typer.Option(help="Folds; 0: as many as the training config's.", min=0)] = 0,
    series: Annotated[
        int, typer.Option(help="Series, drawn by the seed; 0: all, or 200 for a local model.", min=0)
    ] = 0,
    space: Annotated[str, typer.Option(help="Search space: a YAML file; default: the model's own.")] = "",
    storage: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the study; default: tuning_storage, or the home folder.")
    ] = "",
) -> None:
    """Choose a model's parameters by trying others, on folds before those that a release is scored by.

    What is measured is kept: a tuning that was stopped or killed goes on with the same command.
    """
    asked = (model, dataset, data, profile, trials, timeout, jobs, folds, series, space, storage)
    outcome: Tuned = run_flow(console, "pipelines.tuning:tuning_flow", *asked)
    _show(outcome, dataset, data)


def _show(outcome: Tuned, dataset: str, data: str) -> None:
    """The best trials, the gain over the default, and how to train with what was found."""
    from components.stage import open_store
    from components.tune import ABOUT, TRIALS
    from pipelines.tuning import trials_of

    store = open_store()
    folder = store.path(outcome.tuning)
    about = json.loads((folder / ABOUT).read_text())
    console.print(_table(trials_of(folder / TRIALS)))
    folds = ", ".join(about["cutoffs"])
    console.print(
        f"RMSLE pooled over the folds after {folds} and {about['series']:,} of {about['of_series']:,} series;"
        f"\nnothing after {about['backtest_from']} was seen.",
        highlight=False,
    )
    console.print(f"picture  {store.path(outcome.report) / 'trials.png'}", soft_wrap=True, highlight=False)
    training = outcome.report.counts["training"]
    if not training:
        console.print(f"Nothing better than the default was found: RMSLE {about['default']:.4f}.")
        return
    changes = ", ".join(f"{path}: {_short(value)}" for path, value in sorted(about["values"].items()))
    console.print(
        f"RMSLE {about['rmsle']:.4f}, the default has {about['default']:.4f}: "
        f"{outcome.report.counts['gain']:.1%} less\n{changes}",
        highlight=False,
    )
    console.print("\nTrain with it:", highlight=False)
    command = f"storecast run --dataset {dataset} --data {data} --profile {training}"
    console.print(command, soft_wrap=True, highlight=False)


def _table(trials: pd.DataFrame) -> Table:
    """The best trials, and the default's if it is not among them."""
    shown = pd.concat([trials.head(SHOWN), trials[trials["default"]]]).drop_duplicates("trial")
    table = Table("trial", "RMSLE", "folds", "seconds", "", box=None)
    for row in shown.to_dict("records"):
        table.add_row(*_cells(row))
    return table


def _cells(row: dict[Any, Any]) -> list[str]:
    note = "default" if row["default"] else "given up early" if row["state"] == "pruned" else row["error"]
    return [str(row["trial"]), f"{row['rmsle']:.4f}", str(row["folds"]), f"{row['seconds']:.0f}", str(note)]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
