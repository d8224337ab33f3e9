"""What may go: everything of a workspace against a policy, and what releases need against all of it.

Sizes and ages come from the files themselves. A data set is needed where the lineage of the current release,
or of the one before it, leads to its content by whatever way; so are raw files that it was made from.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from storecast.store import uri as uris
from storecast.store.datasets import MANIFEST, DatasetStore
from storecast.store.releases import POINTER, Release, ReleaseStore

Action = Literal["keep", "archive", "delete"]
LINEAGE = "lineage.json"
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


def plan(store: DatasetStore, policy: RetentionPolicy, now: datetime | None = None) -> list[Step]:
    """What is to become of everything that the policy names, by name.

    Raises:
        ReleaseError: the current release, or the one before it, is not there: then nothing may go.
        StoreError: its lineage is not.
    """
    when, needed = now or datetime.now(UTC), Needed(store)
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
    if why := needed.why(item):
        return Step(item, "keep", why)
    return Step(item, rule.then, f"{item.kind}: {age:.0f} days old, {rule.days} stay")


class Needed:
    """What the current release of each data set, and the one before it, need.

    Attributes:
        paths: names of release folders and pointers that stay, with the reason.
        hashes: contents of data sets and raw files, with the reason.
        named: everything that the policy names: a folder around some of it is no item of its own.
    """

    def __init__(self, store: DatasetStore) -> None:
        self.store = store
        self.paths: dict[str, str] = {}
        self.hashes: dict[str, str] = {}
        self.named: Sequence[str] = ()
        for dataset in uris.children(uris.join(store.root, "releases")):
            releases = ReleaseStore(store, dataset)
            for release, why in _in_use(releases):
                self.paths[f"releases/{dataset}/{POINTER}"] = "it says which release is current"
                self._release(dataset, release, why)

    def why(self, item: Item) -> str:
        """Why an item must stay; "" where it may go."""
        inside = f"{item.name}/"
        for path, reason in self._all_paths.items():
            if path == item.name or path.startswith(inside) or item.name.startswith(f"{path}/"):
                return reason
        if any(name.startswith(inside) for name in self.named):
            return "it holds what another kind names"
        if self.hashes and item.name not in self._manifests:  # raw files, perhaps
            for file in item.files:
                uri = (
                    uris.join(self.store.root, item.name, file)
                    if file
                    else uris.join(self.store.root, item.name)
                )
                if reason := self.hashes.get(uris.content_hash(uri), ""):
                    return reason
        return ""

    @cached_property
    def _all_paths(self) -> dict[str, str]:
        """What stays by its name: releases, pointers, and data sets whose content or files are needed."""
        found = dict(self.paths)
        for name, manifest in self._manifests.items():
            files = manifest.get("files", {}).values()
            for content in (str(manifest["hash"]), *(str(entry["sha256"]) for entry in files)):
                if content in self.hashes:
                    found[name] = self.hashes[content]
        return found

    @cached_property
    def _manifests(self) -> dict[str, Mapping[str, Any]]:
        """The manifest of every data set, by the data set's name."""
        found = {}
        base = uris.join(self.store.root, "datasets")
        for stage in uris.children(base):
            for key in uris.children(uris.join(base, stage)):
                uri = uris.join(base, stage, key, MANIFEST)
                if uris.exists(uri):
                    found[f"datasets/{stage}/{key}"] = json.loads(uris.read_text(uri))
        return found

    def _release(self, dataset: str, release: Release, why: str) -> None:
        self.paths.setdefault(f"releases/{dataset}/{release.id}", why)
        rival = str(release.about.get("champion") or "")
        if rival:
            self.paths.setdefault(f"releases/{dataset}/{rival}", f"{why} was measured against it")
        lineage = json.loads(uris.read_text(uris.join(release.uri, LINEAGE)))
        todo: list[str] = []
        for part in lineage.values():
            todo += [str(part["hash"]), *map(str, part["inputs"].values())]
        while todo:
            content = todo.pop()
            if content not in self.hashes:
                self.hashes[content] = f"needed by {why}"
                todo += self._inputs.get(content, [])

    @cached_property
    def _inputs(self) -> dict[str, list[str]]:
        """The contents that each content was made from, by whichever data set."""
        found: dict[str, list[str]] = {}
        for manifest in self._manifests.values():
            found.setdefault(str(manifest["hash"]), []).extend(map(str, manifest["inputs"].values()))
        return found


def in_use(store: DatasetStore) -> list[Release]:
    """The current release of each data set and the one to roll back to."""
    datasets = uris.children(uris.join(store.root, "releases"))
    return [release for name in datasets for release, _ in _in_use(ReleaseStore(store, name))]


def _in_use(releases: ReleaseStore) -> Iterator[tuple[Release, str]]:
    trail = releases.trail()
    for release_id, what in zip(
        reversed(trail), ("current release", "release before the current"), strict=False
    ):
        yield releases.get(release_id), f"the {what}, {release_id}"


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
