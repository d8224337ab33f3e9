"""`storecast loop ...` and `storecast replay`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from components.stage import open_store
from pipelines.command import run_flow
from storecast.errors import ConfigError, StoreError
from storecast.loop.decisions import Decision, DecisionLog, pending
from storecast.loop.state import unfinished
from storecast.settings import Settings, load_settings
from storecast.store import locks
from storecast.store import uri as uris
from storecast.store.releases import part_names

loop = typer.Typer(no_args_is_help=True, help="Watch what was served, and train when the policy says so.")
console = Console()

DatasetConfigOption = Annotated[
    str, typer.Option("--dataset", help="Data set config: a YAML file, or the name of one that ships.")
]
DataOption = Annotated[str, typer.Option("--data", help="Folder or URI of the raw files.")]
PolicyOption = Annotated[str, typer.Option("--policy", help="Retraining policy: a YAML file, or a name.")]
DatasetOption = Annotated[str, typer.Option("--dataset", help="Data set; needed where there are several.")]
DecisionId = Annotated[str, typer.Argument(help="Id of the decision, or its beginning.")]


@loop.command("run")
def run(
    dataset: DatasetConfigOption,
    data: DataOption,
    policy: PolicyOption = "default",
) -> None:
    """One pass: take what has arrived, look at what was served, decide, and do what was decided."""
    with _alone(load_settings()):
        made: list[Decision] = run_flow(console, "pipelines.loop:watch_flow", dataset, data, policy)
    for decision in made:
        _print(decision)


@loop.command("decisions")
def decisions(
    dataset: DatasetOption = "",
    since: Annotated[str, typer.Option(help="First day of data, YYYY-MM-DD.")] = "",
) -> None:
    """What the loop has decided, the oldest first, and what waits for a yes."""
    by_log = [log.all(since) for log in _logs(dataset)]
    found = sorted((each for made in by_log for each in made), key=lambda each: each.at)
    several = ["data set"] if len(by_log) > 1 else []
    table = Table("decision", "at", *several, "action", "rule", "because", box=None)
    for each in found:
        of = [each.dataset] if several else []
        table.add_row(each.id, each.at[:16], *of, each.action, each.rule, each.because)
    console.print(table)
    for question in (question for made in by_log for question in pending(made)):
        named = f" --dataset {question.dataset}" if dataset else ""
        console.print(f"waits for a yes:  storecast loop approve {question.id}{named}", highlight=False)


@loop.command("approve")
def approve(question: DecisionId, dataset: DatasetOption = "") -> None:
    """Say yes to a training; the next pass starts it."""
    _answer(question, dataset, "approve", "said yes")


@loop.command("decline")
def decline(question: DecisionId, dataset: DatasetOption = "") -> None:
    """Say no to a training: one that was asked about, or one that was started and has not ended."""
    _answer(question, dataset, "decline", "said no")


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
    from pipelines.replay import replay as run_replay

    def report(what: str, done: int, total: int) -> None:
        if what:
            console.print(what, highlight=False, soft_wrap=True)
        elif not console.is_terminal and done % 10 == 0:
            print(f"{done} of {total} days", file=sys.stderr, flush=True)

    with console.status("Replaying"):
        uri, summary = run_replay(dataset, data, first, last, report, policy=policy, training=profile)
    for line in lines(summary):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"table and picture  {uri}", highlight=False, soft_wrap=True)


def _print(decision: Decision) -> None:
    console.print(
        f"{decision.id}  [bold]{decision.action:<8}[/] {decision.rule}: {decision.because}",
        highlight=False,
        soft_wrap=True,
    )


def _answer(question: str, dataset: str, action: str, said: str) -> None:
    logs = _logs(dataset)
    if len(logs) > 1:
        raise ConfigError(
            f"data set {dataset} has partitions, each with decisions of its own",
            expected="the partition's name",
            cure=f"storecast loop decisions --dataset {dataset} names it",
        )
    (log,) = logs
    asked = log.get(question)
    decided = log.all()
    open_ones = [each.id for each in pending(decided)]
    if action == "decline" and (started := unfinished(decided)):
        open_ones.append(started.id)
    if asked.id not in open_ones:
        raise ConfigError(
            "this decision does not wait for an answer",
            where=asked.id,
            expected=f"one of {', '.join(open_ones) or 'none: no question is open'}",
            cure="storecast loop decisions",
        )
    person = os.environ.get("USER") or f"user {os.getuid()}"
    made = asked.next(action, "approval", f"{person} {said}.", datetime.now(UTC), {"by": person})
    log.record(made)
    _print(made)


def _logs(dataset: str) -> list[DecisionLog]:
    """The decisions on a data set; of one that was cut, those on each of its partitions."""
    store = open_store()
    names = uris.children(uris.join(store.root, "loop"))
    if not dataset and len(names) != 1:
        raise ConfigError(
            "no decision has been made yet" if not names else "several data sets have decisions",
            where=uris.join(store.root, "loop"),
            expected=f"one of {', '.join(names)}" if names else "",
            cure="name it: --dataset NAME" if names else "storecast loop run",
        )
    named = dataset or names[0]
    found = [name for name in (named, *part_names(store, named)) if name in names]
    return [DecisionLog(store.root, name) for name in found or [named]]


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Only one pass at a time over a home folder: two would train twice."""
    file = settings.run_folder / "loop.lock"
    with locks.locked(file, locks.ALONE | locks.AT_ONCE) as alone:
        if not alone:
            raise StoreError(
                "another pass of the loop is under way", where=str(file), cure="wait until it has ended"
            )
        yield
