"""Stage: archive and delete what a retention policy lets go.

    python -m components.archive --policy default --dry-run
    python -m components.archive --policy default

Nothing goes that the current release, or the one before it, needs. What was killed is done by the next run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from components import mlflow_tracking
from components.stage import Workspace, main, open_store, progress
from storecast.configs import config_file
from storecast.errors import ReleaseError
from storecast.settings import load_settings
from storecast.store import uri as uris
from storecast.store.archive import Archive, remove
from storecast.store.datasets import DatasetStore
from storecast.store.releases import CHECKSUMS
from storecast.store.retention import RetentionPolicy, Step, in_use, plan
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
    steps = [step for step in plan(store, rules) if step.action != "keep"]
    runs = old_runs(store, rules)
    counts = {"items": len(steps), "bytes": sum(step.item.bytes for step in steps), "mlflow_runs": len(runs)}
    if dry_run:
        for step in steps:
            print(f"{step.action:<8} {step.item.bytes:>14,}  {step.item.name}  ({step.why})")
        return Cleaned("", counts)
    apply(store, rules, steps)
    mlflow_tracking.delete_runs(load_settings(), runs)
    return Cleaned(_recorded(store, steps, runs), counts)


def apply(store: DatasetStore, rules: RetentionPolicy, steps: list[Step]) -> None:
    """Do what was planned, item by item: write, verify, then remove.

    Raises:
        ReleaseError: another release became current meanwhile, which may need what is left of the plan.
    """
    archive = Archive(store.root, rules.archive)
    report, used = progress("archive"), [release.id for release in in_use(store)]
    for number, step in enumerate(steps, start=1):
        if step.action == "archive" and not archive.leaves(step.item):
            archive.put(step.item)
        if [release.id for release in in_use(store)] != used:
            raise ReleaseError(
                "another release became current meanwhile", where=store.root, cure="run it again"
            )
        remove(store.root, step.item)
        report(number, len(steps))


def old_runs(store: DatasetStore, rules: RetentionPolicy) -> list[str]:
    """MLflow's runs that the policy lets go: not those of models in use."""
    if not rules.mlflow_days:
        return []
    before = datetime.now(UTC) - timedelta(days=rules.mlflow_days)
    bundles = []
    for release in in_use(store):
        sums = json.loads(uris.read_text(uris.join(release.uri, CHECKSUMS)))
        bundle = {n.removeprefix("bundle/"): s for n, s in sums.items() if n.startswith("bundle/")}
        bundles.append(mlflow_tracking.bundle_digest(bundle))
    return mlflow_tracking.runs_before(load_settings(), before, bundles)


def _recorded(store: DatasetStore, steps: list[Step], runs: list[str]) -> str:
    now = datetime.now(UTC)
    done = [{"name": s.item.name, "action": s.action, "bytes": s.item.bytes, "why": s.why} for s in steps]
    uri = uris.join(store.root, "retention", f"{now:%Y%m%dT%H%M%SZ}.json")
    content = {"at": now.isoformat(timespec="seconds"), "done": done, "mlflow_runs": runs}
    uris.write_text(uri, json.dumps(content, indent=1) + "\n")
    return uri


if __name__ == "__main__":
    main(run)
