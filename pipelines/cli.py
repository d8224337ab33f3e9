"""The command line: `storecast run`, `demo`, `releases`, `export`, `serve`, `keys`, `config`, `up`, `down`.

It parses, calls and prints. Exit codes: 0 done; 2 something is wrong with data, settings or the store, and
the message says what and how to mend it; 3 the run ended but nothing could be released.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import partitioned_cli, stack
from pipelines.actuals_cli import actuals
from pipelines.archive_cli import archive
from pipelines.command import run_flow
from pipelines.dashboard_cli import dashboard
from pipelines.kfp_cli import kfp
from pipelines.loop_cli import loop, replay
from pipelines.partitioned_cli import NOT_RELEASED, look
from pipelines.releases_cli import export, releases
from pipelines.runs_cli import runs
from pipelines.serving_cli import keys, serve
from pipelines.tune_cli import tune
from storecast import __version__
from storecast.errors import ConfigError, StorecastError, store_errors
from storecast.settings import explain_settings, load_settings
from storecast.synthetic import write_after, write_raw

if TYPE_CHECKING:
    from pipelines.steps import Outcome

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From the daily sales of every store and product family to a released forecast.",
)
config_app = typer.Typer(no_args_is_help=True, help="The settings.")
app.add_typer(config_app, name="config")
app.add_typer(releases, name="releases")
app.add_typer(runs, name="runs")
app.add_typer(kfp, name="kfp")
app.add_typer(loop, name="loop")
app.add_typer(keys, name="keys")
app.add_typer(actuals, name="actuals")
app.add_typer(dashboard, name="dashboard")
app.add_typer(archive, name="archive")
app.command()(export)
app.command()(serve)
app.command()(replay)
app.command()(tune)
console = Console()


@app.command()
def run(
    dataset: Annotated[
        str, typer.Option(help="Data set config: a YAML file, or the name of one that ships.")
    ],
    data: Annotated[str, typer.Option(help="Folder or URI of the raw files.")],
    profile: Annotated[
        str, typer.Option(help="Training config: full, quick, or a YAML file of your own.")
    ] = "full",
    partition: Annotated[
        int,
        typer.Option(
            min=0,
            help="Cut the panel into data sets of at most so many series, a run and a release for each.",
        ),
    ] = 0,
    partition_by: Annotated[
        str,
        typer.Option(help="Column whose values stay together: a key, or static [default: the coarsest key]."),
    ] = "",
) -> None:
    """Train all models, compare them on a backtest and release a forecast.

    Stages whose inputs, settings and code are unchanged are not run again; a run that was killed goes
    on where it stopped.
    """
    if partition:
        partitioned_cli.run(dataset, data, profile, partition, partition_by)
        return
    if partition_by:
        raise ConfigError("without --partition nothing is cut", found=f"--partition-by {partition_by}")
    _report(_train(dataset, data, profile))


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="The same seed gives the same sales.")] = 7,
) -> None:
    """The whole job on a synthetic retailer: 36 series, all six models, some minutes."""
    folder = load_settings().home / "demo"
    raw, after = folder / f"raw-{seed}", folder / f"after-{seed}"
    write_raw(raw, seed=seed)
    write_after(after, seed=seed)
    console.print(f"Synthetic sales of 6 stores and 6 families are in [bold]{raw}[/]")
    console.print(f"What they sell in the 16 days after, and then plan, is in [bold]{after}[/], for the loop")
    _report(_train("synthetic", str(raw), "demo", arrived=False))


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect UI.")] = stack.PREFECT_PORT,
    runner_port: Annotated[
        int, typer.Option(help="Port at which the runner says that it lives.")
    ] = stack.RUNNER_PORT,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.")] = stack.MLFLOW_PORT,
    serving_port: Annotated[int, typer.Option(help="Port of the forecasts.")] = stack.SERVING_PORT,
    dashboard_port: Annotated[int, typer.Option(help="Port of the dashboard.")] = stack.DASHBOARD_PORT,
) -> None:
    """Start the local stack: Prefect with a runner, MLflow, the forecasts and the dashboard."""
    ports = {
        "prefect": prefect_port,
        "runner": runner_port,
        "mlflow": mlflow_port,
        "serving": serving_port,
        "dashboard": dashboard_port,
    }
    for name, address in stack.up(load_settings(), ports).items():
        console.print(f"{name:<9} {address}")
    console.print("Stop them with: storecast down")


@app.command()
def down() -> None:
    """Stop the local stack."""
    stopped = stack.down(load_settings())
    console.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@config_app.command("show")
def show_config() -> None:
    """Print the settings in force and where each value came from."""
    table = Table("setting", "value", "from")
    for row in explain_settings():
        table.add_row(*row)
    console.print(table)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def _train(dataset: str, data: str, profile: str, *, arrived: bool = True) -> Outcome:
    """A training run; without `arrived` on the raw files alone."""
    look(dataset, data, profile, whole=True)
    flow, options = "pipelines.training:training_flow", {} if arrived else {"actuals": ""}
    outcome: Outcome = run_flow(console, flow, dataset, data, profile, options=options)
    return outcome


def _report(outcome: Outcome) -> None:
    """What became of the rows, the comparison, the decision, where everything lies and what to do next."""
    from pipelines.terminal import score_table
    from pipelines.training import comparison, reasons
    from storecast.ingest.quality import sentences
    from storecast.store.datasets import DatasetStore

    store = DatasetStore(load_settings().root)
    console.print()
    for line in sentences(outcome.panel.counts):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if outcome.panel.counts["totals"]["rows_quarantined"]:
        rows = store.path(outcome.panel) / "quarantine.parquet"
        console.print(f"  in quarantine: {rows}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(score_table(comparison(store.path(outcome.evaluation)), "The last fold, best model first"))
    for reason in reasons(store.path(outcome.decision)):
        console.print(f"  {reason}", highlight=False)
    folder = store.path(outcome.report)
    console.print(f"\nreport   {folder / 'report.html'}", soft_wrap=True, highlight=False)
    console.print(f"picture  {folder / 'forecasts.png'}", soft_wrap=True, highlight=False)
    if outcome.current is None:
        console.print("[yellow]Nothing was released: the challenger did not pass the gate.[/]")
        raise typer.Exit(NOT_RELEASED)
    console.print(f"release  {outcome.current.uri}", soft_wrap=True, highlight=False)
    if outcome.made is None:
        console.print("[yellow]The champion stays; its release is still the current one.[/]")
    if outcome.behind:
        console.print(f"[yellow]{outcome.behind}[/]", highlight=False)
    console.print("\nLook further:  storecast releases show    storecast up", highlight=False)


def main() -> None:
    """Run the command line; errors that a user can act on become one message and exit code 2."""
    try:
        with store_errors():
            app()
    except StorecastError as error:
        Console(stderr=True).print(
            f"[bold red]{type(error).__name__}[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
