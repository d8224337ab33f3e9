"""What must stay of a workspace, whatever a policy says: what releases in use, and what is under way, need.

A data set is needed where the lineage of such a release leads to its content by whatever way; so are raw
files that it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storecast.store import uri as uris
from storecast.store.datasets import MANIFEST, DatasetStore
from storecast.store.releases import POINTER, Release, ReleaseStore


@dataclass(frozen=True)
class Held:
    """What is under way in a data set, and needs more than the releases in use.

    Attributes:
        dataset: its name.
        releases: ids of releases that must stay, with everything they need; and why.
        paths: names below the root that must stay; and why.
    """

    dataset: str
    releases: Mapping[str, str]
    paths: Mapping[str, str]


class Needed:
    """What the current release of each data set, the one before it, and what is under way need.

    Attributes:
        paths: names of release folders and pointers that stay, with the reason.
        hashes: contents of data sets and raw files, with the reason.
        named: everything that the policy names: a folder around some of it is no item of its own.
    """

    def __init__(self, store: DatasetStore, held: Sequence[Held]) -> None:
        self.store = store
        self.paths: dict[str, str] = {path: why for each in held for path, why in each.paths.items()}
        self.hashes: dict[str, str] = {}
        self.named: Sequence[str] = ()
        for dataset in uris.children(uris.join(store.root, "releases")):
            releases = ReleaseStore(store, dataset)
            for release, why in _in_use(releases, held):
                self.paths[f"releases/{dataset}/{POINTER}"] = "it says which release is current"
                self._release(dataset, release, why)

    def why(self, item: str, files: Iterable[str]) -> str:
        """Why a folder or file must stay; "" where it may go.

        Args:
            item: its name below the root.
            files: the relative path of each file below it; "" where it is a file itself.
        """
        inside = f"{item}/"
        for path, reason in self._all_paths.items():
            if path == item or path.startswith(inside) or item.startswith(f"{path}/"):
                return reason
        if any(name.startswith(inside) for name in self.named):
            return "it holds what another kind names"
        if self.hashes and item not in self._manifests:  # raw files, perhaps
            for file in files:
                uri = uris.join(self.store.root, item, *([file] if file else []))
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
        todo: list[str] = []
        for part in release.lineage().values():
            if isinstance(part, Mapping):  # else the id of the release that this one was refreshed from
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


def in_use(store: DatasetStore, held: Sequence[Held]) -> list[Release]:
    """The current release of each data set, the one to roll back to, and those that are held."""
    datasets = uris.children(uris.join(store.root, "releases"))
    return [release for name in datasets for release, _ in _in_use(ReleaseStore(store, name), held)]


def _in_use(releases: ReleaseStore, held: Sequence[Held]) -> Iterator[tuple[Release, str]]:
    trail = releases.trail()
    for release_id, what in zip(
        reversed(trail), ("current release", "release before the current"), strict=False
    ):
        yield releases.get(release_id), f"the {what}, {release_id}"
    for each in held:
        if each.dataset == releases.name:
            for release_id, why in each.releases.items():
                yield releases.get(release_id), why
