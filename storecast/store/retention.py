"""What may go: everything of a workspace against a policy, and what must stay (`needed`) against all of it.

Sizes and ages come from the files themselves.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.needed import Held, Needed
from storecast.store.releases import POINTER

Action = Literal["keep", "archive", "delete"]
OURS = ("archive", "retention", "scratch")
"""Folders of the archive itself, of its records, and of work under way."""
FOLDERS_ONLY = ("releases", "datasets")


class Rule(BaseModel):
    """What becomes of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(min_length=1, description="Patterns of paths below the workspace.")
    keep: int = Field(default=0, ge=0, description="So many of the newest in a folder stay.")
    days: int = Field(ge=1, description="Younger ones stay; a day at least: a run may be under way.")
    then: Literal["archive", "delete"] = Field(description="What becomes of the others.")


class RetentionPolicy(BaseModel):
    """A policy's YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: str = Field(default="", description="URI of the archive; empty: in the workspace.")
    kinds: dict[str, Rule]
    mlflow_days: int = Field(default=0, ge=0, description="Age at which MLflow's runs go; 0: never.")
    prefect_days: int = Field(default=0, ge=0, description="Age at which ended flow runs go; 0: never.")


@dataclass(frozen=True)
class Item:
    """A folder or file that a kind names.

    Attributes:
        name: its path below the root.
        kind: of the policy.
        files: bytes of each file below it by relative path; "" where it is a file itself.
        changed: when its newest file was written.
    """

    name: str
    kind: str
    files: Mapping[str, int]
    changed: datetime

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(self.files.values())


@dataclass(frozen=True)
class Step:
    """What is to become of an item, and why."""

    item: Item
    action: Action
    why: str


def plan(
    store: DatasetStore, policy: RetentionPolicy, held: Sequence[Held], now: datetime | None = None
) -> list[Step]:
    """What is to become of everything that the policy names, by name.

    Args:
        store: what is there.
        policy: what becomes of what.
        held: what is under way, of every data set.
        now: from when ages count; None: this moment.

    Raises:
        ReleaseError: the current release, the one before it, or one that is held is not there: then nothing
            may go.
        StoreError: its lineage is not.
    """
    when, needed = now or datetime.now(UTC), Needed(store, held)
    found, steps = _by_kind(store.root, policy), []
    needed.named = [item.name for items in found.values() for item in items]
    for kind, items in found.items():
        rule = policy.kinds[kind]
        for folder in sorted({item.name.rpartition("/")[0] for item in items}):
            siblings = [item for item in items if item.name.rpartition("/")[0] == folder]
            siblings.sort(key=lambda item: (item.changed, item.name), reverse=True)
            steps += [_step(item, place, rule, needed, when) for place, item in enumerate(siblings)]
    return sorted(steps, key=lambda step: step.item.name)


def _step(item: Item, place: int, rule: Rule, needed: Needed, now: datetime) -> Step:
    age = (now - item.changed) / timedelta(days=1)
    if place < rule.keep:
        return Step(item, "keep", f"one of the newest {rule.keep}")
    if age < rule.days:
        return Step(item, "keep", f"{age:.0f} days old, {rule.days} stay")
    if why := needed.why(item.name, item.files):
        return Step(item, "keep", why)
    return Step(item, rule.then, f"{item.kind}: {age:.0f} days old, {rule.days} stay")


def _by_kind(root: str, policy: RetentionPolicy) -> dict[str, list[Item]]:
    """All items under the first kind that names them."""
    fs, base = uris.filesystem(root)
    files = fs.find(base, detail=True) if fs.exists(base) else {}
    names = {path[len(base) :].lstrip("/"): info for path, info in files.items()}
    found: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in policy.kinds}
    for name, info in names.items():
        if match := _kind_of(name, policy):
            kind, item = match
            found[kind].setdefault(item, {})[name[len(item) :].lstrip("/")] = info
    return {
        kind: [_item(kind, name, infos) for name, infos in items.items()] for kind, items in found.items()
    }


def _kind_of(name: str, policy: RetentionPolicy) -> tuple[str, str] | None:
    """The kind that names a file, and the item that the file belongs to."""
    parts = name.split("/")
    if parts[0] in OURS or name.endswith(f"/{POINTER}") or any(part.startswith(".") for part in parts):
        return None
    for kind, rule in policy.kinds.items():
        for pattern in rule.paths:
            depth = pattern.count("/") + 1
            item = "/".join(parts[:depth])
            folder = parts[0] in FOLDERS_ONLY  # a file beside releases or data sets is a pointer or a note
            if len(parts) >= depth + folder and fnmatch.fnmatchcase(item, pattern):
                return kind, item
    return None


def _item(kind: str, name: str, infos: Mapping[str, Mapping[str, Any]]) -> Item:
    changed = max(_changed(info) for info in infos.values())
    return Item(name, kind, {path: int(info["size"] or 0) for path, info in infos.items()}, changed)


def _changed(info: Mapping[str, Any]) -> datetime:
    """When a file was written, as the file systems say it."""
    value = info.get("mtime") or info.get("LastModified") or info.get("modified") or info.get("created")
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.now(UTC)  # unknown: as if it were new
