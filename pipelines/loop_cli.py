"""`storecast replay`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

console = Console()

DatasetConfigOption = Annotated[
    str, typer.Option("--dataset", help="Data set config: a YAML file, or the name of one that ships.")
]
DataOption = Annotated[str, typer.Option("--data", help="Folder or URI of the raw files.")]
PolicyOption = Annotated[str, typer.Option("--policy", help="Retraining policy: a YAML file, or a name.")]


def replay(
    dataset: DatasetConfigOption,
    data: DataOption,
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD: all begin with its model.")],
    last: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    policy: PolicyOption = "default",
    profile: Annotated[str, typer.Option(help="Training config: the naive and one light model.")] = "replay",
) -> None:
    """Run the loop over a past period, day by day, beside never training again and training daily.

    What has been fitted is kept: a replay that was killed goes on where it stopped.
    """
    from pipelines.replay import lines
    from pipelines.replay import replay as run

    def report(what: str, done: int, total: int) -> None:
        if what:
            console.print(what, highlight=False, soft_wrap=True)
        elif not console.is_terminal and done % 10 == 0:
            print(f"{done} of {total} days", file=sys.stderr, flush=True)

    with console.status("Replaying"):
        uri, summary = run(dataset, data, first, last, report, policy=policy, training=profile)
    for line in lines(summary):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"table and picture  {uri}", highlight=False, soft_wrap=True)
