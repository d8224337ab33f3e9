"""Stage: archive and delete what a retention policy lets go.

    python -m components.archive --policy default --dry-run
    python -m components.archive --policy default

Nothing goes that the current release, the one before it, or what the loop has under way needs. What was
killed is done by the next run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from components import mlflow_cleanup, mlflow_registry
from components.stage import Workspace, main, open_store, progress
from storecast.configs import config_file
from storecast.errors import ReleaseError
from storecast.loop.under_way import decided, held_by_loops
from storecast.settings import load_settings
from storecast.store import uri as uris
from storecast.store.archive import Archive, remove
from storecast.store.datasets import DatasetStore
from storecast.store.needed import in_use
from storecast.store.releases import ReleaseStore, named
from storecast.store.retention import RetentionPolicy, Step, plan
from storecast.yaml_model import load_yaml_model

Policy = Annotated[str, typer.Option(help="Retention policy: name or YAML file.")]


@dataclass(frozen=True)
class Cleaned:
    """What was done: the URI of its record ("" for a dry run), and how many items and bytes."""

    uri: str
    counts: dict[str, int]


def load_policy(name: str) -> RetentionPolicy:
    """A retention policy by name (a file of configs/retention), path or URI.

    Raises:
        ConfigError: there is no such file, or it is wrong.
    """
    return load_yaml_model(config_file(name, "retention"), RetentionPolicy)


def run(
    policy: Policy = "default",
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
    workspace: Workspace = "",
) -> Cleaned:
    """Archive and delete what a policy lets go, and clean MLflow.

    Args:
        policy: retention policy, by name or file.
        dry_run: change nothing.
        workspace: where data sets and releases lie.

    Returns:
        The record of what was done, retention/<time>.json in the workspace.

    Raises:
        ReleaseError: a release in use cannot be read, so nothing may go.
        StoreError: the archive did not keep what was written to it; the original stays.
    """
    store, rules = open_store(workspace), load_policy(policy)
    watched = Watched(store)
    steps = [step for step in plan(store, rules, watched.held) if step.action != "keep"]
    runs = old_runs(store, rules)
    counts = {"items": len(steps), "bytes": sum(step.item.bytes for step in steps), "mlflow_runs": len(runs)}
    if dry_run:
        for step in steps:
            print(f"{step.action:<8} {step.item.bytes:>14,}  {step.item.name}  ({step.why})")
        return Cleaned("", counts)
    apply(store, rules, steps, watched)
    mlflow_cleanup.delete_runs(load_settings(), runs)
    return Cleaned(_recorded(store, steps, runs), counts)


def planned(store: DatasetStore, rules: RetentionPolicy) -> list[Step]:
    """What a policy would do with everything that it names.

    Raises:
        ReleaseError: a release in use cannot be read, so nothing may go.
        StoreError: nor may it where lineage or a decision of the loop cannot be.
    """
    return plan(store, rules, held_by_loops(store.root))


def apply(store: DatasetStore, rules: RetentionPolicy, steps: list[Step], watched: Watched) -> None:
    """Do what was planned, item by item: write, verify, then remove.

    Args:
        store: where the items are.
        rules: says where the archive is.
        steps: what was planned.
        watched: what it was planned for.

    Raises:
        ReleaseError: another release became current meanwhile, or the loop began something, which may need
            what is left of the plan.
    """
    archive, report = Archive(store.root, rules.archive), progress("archive")
    for number, step in enumerate(steps, start=1):
        if step.action == "archive" and not archive.leaves(step.item):
            archive.put(step.item)
        watched.refuse_change()
        remove(store.root, step.item)
        report(number, len(steps))


class Watched:
    """What a plan is made for: the releases in use, and what the loops have under way (`held`)."""

    def __init__(self, store: DatasetStore) -> None:
        self.store = store
        self.decided = decided(store.root)
        self.held = held_by_loops(store.root)
        self.used = self._used()

    def refuse_change(self) -> None:
        """Refuse to go on where it is no longer so.

        Raises:
            ReleaseError: another release is current, or the loop has begun something.
        """
        new = decided(self.store.root) - self.decided
        if new and held_by_loops(self.store.root) != self.held:
            raise ReleaseError(
                "the loop has begun something meanwhile", where=self.store.root, cure="run it again"
            )
        self.decided |= new
        if self._used() != self.used:
            raise ReleaseError(
                "another release became current meanwhile", where=self.store.root, cure="run it again"
            )

    def _used(self) -> list[str]:
        return [release.id for release in in_use(self.store, self.held)]


def old_runs(store: DatasetStore, rules: RetentionPolicy) -> list[str]:
    """MLflow's runs that the policy lets go: not those of models in use."""
    if not rules.mlflow_days:
        return []
    before = datetime.now(UTC) - timedelta(days=rules.mlflow_days)
    bundles = []
    for release in in_use(store, held_by_loops(store.root)):
        dataset, _ = named(release.uri)
        bundles.append(mlflow_registry.digest_of_model(ReleaseStore(store, dataset), release))
    return mlflow_cleanup.runs_before(load_settings(), before, bundles)


def _recorded(store: DatasetStore, steps: list[Step], runs: list[str]) -> str:
    now = datetime.now(UTC)
    done = [{"name": s.item.name, "action": s.action, "bytes": s.item.bytes, "why": s.why} for s in steps]
    uri = uris.join(store.root, "retention", f"{now:%Y%m%dT%H%M%SZ}.json")
    content = {"at": now.isoformat(timespec="seconds"), "done": done, "mlflow_runs": runs}
    uris.write_text(uri, json.dumps(content, indent=1) + "\n")
    return uri


if __name__ == "__main__":
    main(run)
