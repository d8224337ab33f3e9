"""`storecast archive`, `archive list` and `archive restore`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from components.archive import load_policy
from components.stage import open_store
from pipelines import environment, own_prefect
from storecast.settings import load_settings
from storecast.store.retention import RetentionPolicy, Step

archive = typer.Typer(invoke_without_command=True, help="Keep, archive or delete what is old, by a policy.")
console = Console()

Policy = Annotated[str, typer.Option(help="Retention policy: a YAML file, or the name of one that ships.")]
MEGABYTE = 1_000_000


@archive.callback()
def archive_all(
    context: typer.Context,
    policy: Policy = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and stop.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show each item, also what stays.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Show what the policy lets go and why; then, if you say so, archive and delete it.

    What the current release, the one before it, and what the loop has under way need stays, whatever the
    policy says.
    """
    if context.invoked_subcommand:
        return
    settings, rules = load_settings(), load_policy(policy)
    environment.prepare(settings)
    from components import archive as stage

    store = open_store()
    steps = stage.planned(store, rules)
    _show(steps, every=every)
    runs = stage.old_runs(store, rules)
    flows = _flow_runs(rules, delete=False)
    console.print(f"MLflow runs to delete: {len(runs)}; flow runs of Prefect: {flows}", highlight=False)
    going = any(step.action != "keep" for step in steps)
    if dry_run or not (going or runs or flows):
        return
    if not (yes or typer.confirm("Do it?")):
        raise typer.Exit(1)
    done = stage.run(policy)
    _flow_runs(rules, delete=True)
    console.print(f"done; the record is {done.uri}", soft_wrap=True, highlight=False)


@archive.command("list")
def list_archived(policy: Policy = "default") -> None:
    """What is in the archive."""
    from storecast.store.archive import Archive

    table = Table("name", "kind", "files", "MB", box=None)
    for item in Archive(open_store().root, load_policy(policy).archive).names():
        table.add_row(item.name, item.kind, str(len(item.files)), f"{item.bytes / MEGABYTE:,.1f}")
    console.print(table)


@archive.command("restore")
def restore(
    name: Annotated[str, typer.Argument(help="As `storecast archive list` shows it.")],
    policy: Policy = "default",
) -> None:
    """Put something back where it was, after checking every file of it."""
    from storecast.store.archive import Archive

    uri = Archive(open_store().root, load_policy(policy).archive).restore(name)
    console.print(f"restored {uri}", soft_wrap=True, highlight=False)


def _show(steps: Sequence[Step], *, every: bool) -> None:
    if every:
        for step in steps:
            size = f"{step.item.bytes / MEGABYTE:,.1f} MB"
            console.print(
                f"{step.action:<8}{size:>12}  {step.item.name}: {step.why}", soft_wrap=True, highlight=False
            )
    totals: dict[tuple[str, str], list[int]] = defaultdict(list)
    for step in steps:
        totals[step.item.kind, step.action].append(step.item.bytes)
    table = Table("kind", "what", "items", "MB", box=None)
    for (kind, action), sizes in sorted(totals.items()):
        table.add_row(kind, action, str(len(sizes)), f"{sum(sizes) / MEGABYTE:,.1f}")
    console.print(table)


def _flow_runs(rules: RetentionPolicy, *, delete: bool) -> int:
    if not rules.prefect_days:
        return 0
    with own_prefect.prefect():
        from pipelines import old_runs
    before = datetime.now(UTC) - timedelta(days=rules.prefect_days)
    return old_runs.delete_before(before) if delete else old_runs.count_before(before)
