"""`storecast runs`: start, list, watch and cancel runs on a platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import environment, stack
from storecast.errors import ConfigError, StoreError
from storecast.settings import load_settings
from storecast.yaml_model import load_yaml_model

runs = typer.Typer(
    no_args_is_help=True,
    help="Runs on a platform (prefect_api_url) or the local stack, through Prefect's API.",
)
console = Console()

RunId = Annotated[str, typer.Argument(help="The run's id.")]
DONE = {
    "Completed": "[green]✓[/]",
    "Failed": "[red]✗[/]",
    "Crashed": "[red]✗[/]",
    "Cancelled": "[yellow]-[/]",
}
FAILED = 3


@runs.callback()
def prepare() -> None:
    """Runs on a platform, through Prefect's API."""
    settings = load_settings()
    if not settings.prefect_api_url and "prefect" not in stack.running(settings):
        raise ConfigError(
            "no platform is named, and the local stack is not up",
            where="prefect_api_url",
            expected="the address of its Prefect API, such as http://localhost:4200/api",
            cure="storecast up; or set STORECAST_PREFECT_API_URL, and STORECAST_PREFECT_AUTH where it asks "
            "for a password",
        )
    environment.prepare(settings)


@runs.command("start")
def start(
    dataset: Annotated[
        str, typer.Option(help="Data set config, by name or URI [default: store_sales].")
    ] = "",
    data: Annotated[str, typer.Option(help="URI of the raw files, as the platform's pods see it.")] = "",
    training: Annotated[
        str, typer.Option("--profile", help="Training config, by name or URI [default: full; demo].")
    ] = "",
    demo: Annotated[bool, typer.Option(help="Train on synthetic sales instead.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the demo's sales [default: 7].")] = None,
    tune: Annotated[str, typer.Option(help="Tune this model instead of training: a name or URI.")] = "",
    trials: Annotated[int | None, typer.Option(help="Of the tuning, in all [default: 20].", min=1)] = None,
    partition: Annotated[
        int, typer.Option(min=0, help="Cut the panel into data sets of at most so many series.")
    ] = 0,
    partition_by: Annotated[
        str, typer.Option(help="Column whose values stay together [default: the coarsest key].")
    ] = "",
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Partitions under way at a time [default: 1].")
    ] = None,
    pods: Annotated[
        Path | None, typer.Option(help="YAML file: how this run's stages use the pools.", dir_okay=False)
    ] = None,
    watch: Annotated[bool, typer.Option(help="Watch the run until it ends.")] = False,
) -> None:
    """Start a training run, whole or in partitions, or the tuning of a model."""
    from orchestrator import runs as api
    from pipelines.pods import PodOptions

    if not data and not demo:
        raise ConfigError("no data are named", expected="--data URI, or --demo for synthetic sales")
    if demo and tune:
        raise ConfigError("the demo trains, it does not tune", where="--tune", cure="name data: --data URI")
    if partition and (demo or tune):
        raise ConfigError("only a training run has partitions", where="--partition")
    if demo:
        _refuse("the demo trains on sales of its own", {"--dataset": dataset, "--data": data})
        given: dict[str, Any] = {"seed": 7 if seed is None else seed}
    else:
        _refuse("only the demo's sales have a seed", {"--seed": seed})
        given = {"dataset": dataset or "store_sales", "data": data}
    if tune:
        given |= {"model": tune, "trials": trials or 20}
    else:
        _refuse("without --tune nothing is tried", {"--trials": trials})
    if partition:
        given |= {"series": partition, "by": partition_by, "at_once": at_once or 1}
    else:
        _refuse("without --partition nothing is cut", {"--partition-by": partition_by, "--at-once": at_once})
    if training:
        given["training"] = training
    chosen = load_yaml_model(pods, PodOptions).model_dump(mode="json", exclude_unset=True) if pods else {}
    flow = "tune" if tune else "demo" if demo else "partitioned" if partition else "train"
    run = api.start(flow, given, chosen)
    console.print(f"{run.id}  {run.name}", highlight=False)
    if watch:
        _watch(run.id)


@runs.command("list")
def list_runs() -> None:
    """The latest runs."""
    from orchestrator import runs as api

    table = Table("id", "name", "state", "started", box=None)
    for run in api.latest():
        table.add_row(run.id, run.name, run.state, f"{run.started:%Y-%m-%d %H:%M}" if run.started else "")
    console.print(table)


@runs.command("watch")
def watch_run(run: RunId) -> None:
    """Show a run's stages until it ends; exit code 3 if it fails."""
    _watch(run)


@runs.command("cancel")
def cancel_run(run: RunId) -> None:
    """Cancel a run and its stages."""
    from orchestrator import runs as api

    console.print(f"{run}  {api.cancel(run).state}", highlight=False)


def _refuse(why: str, options: Mapping[str, str | int | None]) -> None:
    """Raise a ConfigError where one of these options is given, which the run would not look at."""
    if found := [f"{name} {value}" for name, value in options.items() if value not in {"", None}]:
        raise ConfigError(why, found=" ".join(found), cure="leave it out")


def _watch(run: str) -> None:
    from orchestrator import runs as api
    from orchestrator.api import SILENCE_SECONDS

    def away(error: StoreError) -> None:
        said = f"the Prefect API is away ({error.found}): asked again for {SILENCE_SECONDS / 60:.0f} minutes"
        console.print(f"  [yellow]![/] {escape(said)}", highlight=False)

    shown: dict[str, str] = {}
    for now, stages in api.watch(run, away):
        for stage in stages:
            if shown.get(stage.id) != stage.state:
                shown[stage.id] = stage.state
                console.print(
                    f"  {DONE.get(stage.state, '·')} {stage.label:<44} {stage.state}", highlight=False
                )
        if now.ended:
            console.print(f"{now.state} {now.message}".strip(), highlight=False)
            if now.state != "Completed":
                raise typer.Exit(FAILED)
