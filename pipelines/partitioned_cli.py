"""`storecast run --partition`: a panel in partitions, from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from pipelines import room
from pipelines.command import run_flow

if TYPE_CHECKING:
    from pipelines.partitioned import Partitioned

NOT_RELEASED = 3
SHOWN = 20
"""Partitions that a table has room for."""
console = Console()


def look(dataset: str, data: str, profile: str, *, whole: bool) -> None:
    """See that configs and files are there: what is wrong with them is told before anything is started.

    Of a panel that is trained `whole`, that it may be too large for this machine is told, too.

    Raises:
        ConfigError, DataError: one is missing or wrong.
    """
    with console.status("Looking at the files"):
        from storecast.configs import config_file
        from storecast.ingest import about_rows, load_dataset_config, require_files
        from storecast.training_config import load_training_config

        load_training_config(profile)
        config = load_dataset_config(config_file(dataset, "datasets"))
        require_files(config, data)
        told = room.shortage(about_rows(config, data), room.free_bytes()) if whole else ""
    if told:
        console.print(f"[yellow]{told}[/]", highlight=False, soft_wrap=True)


def run(dataset: str, data: str, profile: str, series: int, by: str) -> None:
    """Cut a panel, train and release each partition in turn, and print what they came to.

    Raises:
        StorecastError: something is wrong with data or settings, or with some of the partitions.
    """
    look(dataset, data, profile, whole=False)
    asked = (dataset, data, profile, series, by)
    outcome: Partitioned = run_flow(console, "pipelines.partitioned:partitioned_flow", *asked)
    _show(outcome, series)


def _show(outcome: Partitioned, most: int) -> None:
    from components.partitions_report import PARTITIONS, PICTURE
    from components.stage import open_store
    from pipelines.terminal import score_table
    from pipelines.training import comparison

    store = open_store()
    folder = store.path(outcome.report)
    if malformed := outcome.partition.counts["malformed"]:
        place = store.path(outcome.partition) / "malformed.parquet"
        console.print(f"  {malformed:,} lines are no rows: {place}", soft_wrap=True, highlight=False)
    large = [about for about in outcome.partition.counts["partitions"] if about["series"] > most]
    for about in large[:3]:
        console.print(
            f"[yellow]{about['name']} has {about['series']:,} series, more than {most:,}: what is in a "
            "partition stays there, with its releases. To cut anew, give the data set another name.[/]",
            highlight=False,
        )
    console.print()
    console.print(score_table(comparison(folder), "The last fold of all partitions, best model first"))
    console.print(_table(pd.DataFrame(json.loads((folder / PARTITIONS).read_text())), outcome))
    console.print(f"picture  {folder / PICTURE}", soft_wrap=True, highlight=False)
    for name, each in sorted(outcome.outcomes.items()):
        if each.behind:
            console.print(f"[yellow]{name}: {each.behind}[/]", highlight=False)
    if outcome.joined:
        console.print(f"release  {outcome.joined.uri}", soft_wrap=True, highlight=False)
        console.print("\nLook further:  storecast releases show    storecast up", highlight=False)
        return
    console.print(f"[yellow]The partitions are not released as one: {outcome.apart}[/]", highlight=False)
    without = sorted(name for name, each in outcome.outcomes.items() if each.current is None)
    if without:
        console.print(
            f"Of {', '.join(without[:5])} nothing was released: their reports say why.", highlight=False
        )
    raise typer.Exit(NOT_RELEASED)


def _table(scores: pd.DataFrame, outcome: Partitioned) -> Table:
    """The partitions' last folds, the largest error first."""
    from storecast.blend import BLEND
    from storecast.partition.pooled import last_folds
    from storecast.training_config import NAIVE

    wide = last_folds(scores)
    series = dict(zip(scores["partition"], scores["series"], strict=True))
    title = f"{len(wide):,} partition{'s' * (len(wide) > 1)}" + (
        f", {SHOWN} of the largest error" if len(wide) > SHOWN else ""
    )
    table = Table(
        "partition", "series", "blend", "naive", "release", title=title, title_justify="left", box=None
    )
    for name, row in wide.head(SHOWN).iterrows():
        current = outcome.outcomes[str(name)].current
        told = (
            f"{series[name]:,}",
            f"{row[BLEND]:.4f}",
            f"{row[NAIVE]:.4f}",
            current.id if current else "none",
        )
        table.add_row(str(name), *told)
    return table
