"""`storecast actuals`: hand in what has arrived, take the drop folder, see what came."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from storecast.actuals import Actuals, Receipt
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.settings import load_settings

actuals = typer.Typer(no_args_is_help=True, help="Actual sales and other raw files that arrive day by day.")
console = Console()

DatasetOption = Annotated[
    str, typer.Option("--dataset", help="Data set config: a YAML file, or the name of one that ships.")
]
REFUSED = 2


@actuals.command()
def add(
    file: Annotated[str, typer.Argument(help="File or URI: CSV, Parquet, or JSON (a list of rows).")],
    dataset: DatasetOption,
    table: Annotated[
        str, typer.Option(help="Raw table it belongs to, such as test.csv; default: by its name, else sales.")
    ] = "",
) -> None:
    """Check one file and keep it; the next ingest takes it. The same file again changes nothing."""
    _report([_actuals(dataset).add(file, table)])


@actuals.command()
def take(dataset: DatasetOption) -> None:
    """Take every file of the drop folder."""
    found = _actuals(dataset)
    inbox = load_settings().inbox(found.config.name)
    receipts = found.take(inbox)
    if not receipts:
        console.print(f"nothing is in {inbox}", highlight=False)
    _report(receipts)


@actuals.command("list")
def show(dataset: DatasetOption) -> None:
    """The files that were taken, the latest last."""
    table = Table("arrived", "file", "table", "hash")
    for arrival in _actuals(dataset).arrivals():
        table.add_row(arrival.at[:19], arrival.name, arrival.table, arrival.hash[:8])
    console.print(table)


def _actuals(dataset: str) -> Actuals:
    return Actuals(load_settings().root, load_dataset_config(config_file(dataset, "datasets")))


def _report(receipts: list[Receipt]) -> None:
    for receipt in receipts:
        arrival = receipt.arrival
        line = f"{receipt.status:<8} {arrival.name} as {arrival.table}: {receipt.rows} of {receipt.read} rows"
        console.print(line, highlight=False, soft_wrap=True)
        for said in (receipt.reason, receipt.left and f"it stays in the drop folder: {receipt.left}"):
            if said:
                console.print(f"         {said}", highlight=False, soft_wrap=True)
    if any(receipt.status == "refused" for receipt in receipts):
        raise typer.Exit(REFUSED)
