"""Releases: immutable, checksummed folders, and one pointer that says which of them is current.

    releases/<id>/            release.json, forecasts.parquet, bundle/, report.html, ..., checksums.json
    releases/current.json     {"current": id, "history": [{"id", "at", "why", ...}, ...]}, replaced whole

A release's id is the cutoff and a hash of its content, so the same content is the same release.
Times are kept in the pointer only: the folder is the same, byte for byte, whenever it is made, or where
its files are encrypted the same but for their bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storecast.errors import ReleaseError, StoreError
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore, checksums, content_hash, describe_files

CHECKSUMS = "checksums.json"
ABOUT = "release.json"
LINEAGE = "lineage.json"
POINTER = "current.json"
PARTITIONS = "partitions"
"""Folder of what says which data sets are in partitions: <name>.json for each."""


@dataclass(frozen=True)
class Activation:
    """When a release became current, and why.

    Attributes:
        id: the release.
        at: ISO time.
        why: a few words.
        registry_behind: whether the model registry has not followed: who moved the pointer does not speak
            to it.
    """

    id: str
    at: str
    why: str
    registry_behind: bool = False


@dataclass(frozen=True)
class Release:
    """A release: its id, where it is and what its release.json says."""

    id: str
    uri: str
    about: Mapping[str, Any]

    def lineage(self) -> dict[str, Any]:
        """What it was made of: key and hash of each stage's data set; where it joins others, their ids."""
        made: dict[str, Any] = json.loads(uris.read_text(uris.join(self.uri, LINEAGE)))
        return made


def named(uri: str) -> tuple[str, str]:
    """The data set and the id of a release, by its URI."""
    dataset, release_id = uri.rstrip("/").split("/")[-2:]
    return dataset, release_id


class ReleaseStore:
    """The releases of one data set (`name`) under a store's root."""

    def __init__(self, store: DatasetStore, name: str) -> None:
        self.store = store
        self.name = name
        self.root = uris.join(store.root, "releases", name)

    def publish(self, folder: Path, about: Mapping[str, Any]) -> Release:
        """Make a filled folder a release; it is not current yet.

        Writes release.json and checksums.json into it and renames it into place. Publishing the same
        content again returns the release that is there.
        """
        cutoff = str(about["cutoff"])
        (folder / ABOUT).write_text(json.dumps(dict(about), indent=1, sort_keys=True) + "\n")
        files = describe_files(folder)
        sums = {name: entry["sha256"] for name, entry in files.items()}
        (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")
        release_id = f"{cutoff}-{content_hash(files)[:12]}"
        uri = uris.join(self.root, release_id)
        if uris.exists(uris.join(uri, CHECKSUMS)):
            shutil.rmtree(folder)
        else:
            uris.publish(folder, uri, last=CHECKSUMS)
        return self.get(release_id)

    def ids(self, known: Collection[str] = ()) -> list[str]:
        """All releases, oldest cutoff first; not those that are half there, as while one is published.

        Args:
            known: ids that were seen before, which are not looked into again: a release does not change.
        """
        return [name for name in self._folders() if name in known or self._is_whole(name)]

    def get(self, release_id: str) -> Release:
        """One release by id, or by a beginning of it that no other shares.

        Raises:
            ReleaseError: there is none, there are several, or it is incomplete.
        """
        name = release_id if self._is_whole(release_id) else self._match(release_id)
        uri = uris.join(self.root, name)
        try:
            about = uris.read_text(uris.join(uri, ABOUT))
        except StoreError as error:
            raise _incomplete(name, uri, ABOUT) from error
        return Release(name, uri, json.loads(about))

    def _folders(self) -> list[str]:
        return [name for name in uris.children(self.root) if name != POINTER and not name.startswith(".")]

    def _is_whole(self, release_id: str) -> bool:
        return uris.exists(uris.join(self.root, release_id, CHECKSUMS))

    def _match(self, beginning: str) -> str:
        folders = self._folders()
        if beginning in folders:
            raise _incomplete(beginning, uris.join(self.root, beginning), CHECKSUMS)
        ids = [name for name in folders if self._is_whole(name)]
        matches = [name for name in ids if name.startswith(beginning)]
        if len(matches) != 1:
            raise ReleaseError(
                f"{'no release' if not matches else 'more than one release'} matches {beginning!r}",
                where=self.root,
                expected=f"one of {', '.join(ids) or 'none: there is no release yet'}",
                cure="storecast releases list",
            )
        return matches[0]

    def path(self, release: Release) -> Path:
        """A local folder with the release's files."""
        return local_copy(self.store, release.uri)

    def history(self) -> list[Activation]:
        """What was current when, the newest last."""
        pointer = uris.join(self.root, POINTER)
        if not uris.exists(pointer):
            return []
        return [Activation(**entry) for entry in json.loads(uris.read_text(pointer))["history"]]

    def current(self) -> Release | None:
        """The release the pointer names, or None before the first."""
        history = self.history()
        return self.get(history[-1].id) if history else None

    def rival(self, evaluation: str) -> Release | None:
        """The release that a challenger is measured against: the current one, if there is one.

        Where the challenger is the current one already (a rerun), it is judged as it was then, so that the
        rerun finds everything made. Older releases name the evaluation of the challenger alone.

        Args:
            evaluation: hash of the challenger's evaluation.
        """
        current = self.current()
        if current and current.about.get("challenger_evaluation", current.about["evaluation"]) == evaluation:
            before = str(current.about["champion"])
            return self.get(before) if before else None
        return current

    def was_current(self, release_id: str) -> bool:
        """Whether it is or once was current. One that was rolled back comes back only by hand."""
        return any(entry.id == release_id for entry in self.history())

    def activate(
        self, release_id: str, why: str, *, instead_of: str = "", registry_behind: bool = False
    ) -> Release:
        """Point at a release after verifying it. Activating the current one changes nothing.

        Args:
            release_id: id of the release.
            why: a few words for the history.
            instead_of: the one that has to be current still when this one is verified; "": any.
            registry_behind: whether the model registry is left to follow; see `registry_followed`.

        Raises:
            ReleaseError: it does not exist or is damaged, or another than `instead_of` became current.
        """
        release = self.get(release_id)
        if self.trail()[-1:] == [release.id]:
            return release
        self.check(release)
        history = self.history()  # only now: verifying may take minutes, in which others point
        current = history[-1].id if history else ""
        if current == release.id:
            return release
        if instead_of and current != instead_of:
            raise ReleaseError(
                f"release {release.id} was not activated: another became current meanwhile",
                where=self.root,
                expected=instead_of,
                found=current,
                cure="see storecast releases list, and decide anew",
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._point([*history, Activation(release.id, now, why, registry_behind)])
        return release

    def registry_followed(self, release_id: str) -> None:
        """Note that the model registry has followed to a release, if that is still the current one."""
        history = self.history()
        if history and history[-1].id == release_id and history[-1].registry_behind:
            self._point([*history[:-1], replace(history[-1], registry_behind=False)])

    def trail(self) -> list[str]:
        """The releases that going back leads through, oldest first; the last is the current one."""
        return trail([entry.id for entry in self.history()])

    def before_current(self) -> Release:
        """The release to roll back to: the one that was current before the current one.

        Raises:
            ReleaseError: there is no earlier one.
        """
        steps = self.trail()
        if len(steps) < 2:
            raise ReleaseError(
                "there is no earlier release to roll back to",
                where=self.root,
                cure="storecast releases list shows all; storecast releases activate ID takes one",
            )
        return self.get(steps[-2])

    def _point(self, history: Sequence[Activation]) -> None:
        pointer = {"current": history[-1].id, "history": [_told(entry) for entry in history]}
        uris.write_text(uris.join(self.root, POINTER), json.dumps(pointer, indent=1) + "\n")

    def check(self, release: Release) -> None:
        """Raise a ReleaseError that names the damaged files, where there are any."""
        if problems := self.verify(release.id):
            raise ReleaseError(
                f"release {release.id} is damaged and was not activated",
                where=release.uri,
                expected="every file as its checksum says",
                found="; ".join(problems),
                cure="run the pipeline again to make it anew, or activate another release",
            )

    def verify(self, release_id: str) -> list[str]:
        """What is wrong with a release's files: missing, changed or extra ones. Empty when all is well."""
        release = self.get(release_id)
        folder = self.path(release)
        expected: dict[str, str] = json.loads((folder / CHECKSUMS).read_text())
        found = {name: digest for name, digest in checksums(folder).items() if name != CHECKSUMS}
        problems = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
        problems += [f"{name} does not belong to it" for name in sorted(found.keys() - expected.keys())]
        problems += [
            f"{name} was changed"
            for name in sorted(expected.keys() & found.keys())
            if expected[name] != found[name]
        ]
        return problems


def local_copy(store: DatasetStore, uri: str) -> Path:
    """A local folder with the files of the release at a URI.

    Raises:
        StoreError: the release is incomplete.
    """
    return uris.fetch(uri, copies_of(store), CHECKSUMS)


def copies_of(store: DatasetStore) -> Path:
    """Folder of the copies of releases, where the store is not on this machine."""
    return store.scratch / "releases"


def datasets(store: DatasetStore) -> list[str]:
    """The data sets that have a release; not the partitions of one that has a release of all of them."""
    names = uris.children(uris.join(store.root, "releases"))
    if len(names) < 2:  # nothing to leave out, nothing more to read
        return names
    wholes = [p.removesuffix(".json") for p in uris.children(uris.join(store.root, PARTITIONS))]
    parts = {part for whole in wholes if whole in names for part in part_names(store, whole)}
    return [name for name in names if name not in parts]


def part_names(store: DatasetStore, dataset: str) -> list[str]:
    """The partitions of a data set that was cut, sorted; none where it was not."""
    pointer = uris.join(store.root, PARTITIONS, f"{dataset}.json")
    groups = json.loads(uris.read_text(pointer))["groups"] if uris.exists(pointer) else {}
    return [part_name(dataset, number) for number in sorted(set(groups.values()))]


def part_name(dataset: str, number: int) -> str:
    """The name of a partition of a data set: a data set, too."""
    return f"{dataset}-{number:03d}"


def trail(ids: Sequence[str]) -> list[str]:
    """The releases that going back leads through, oldest first, of all that were current in turn.

    Going back to a release undoes what came after it.
    """
    steps: list[str] = []
    for release_id in ids:
        if release_id in steps:
            steps = steps[: steps.index(release_id)]
        steps.append(release_id)
    return steps


def _incomplete(release_id: str, uri: str, missing: str) -> ReleaseError:
    return ReleaseError(
        f"release {release_id} is incomplete",
        where=uri,
        expected=f"a folder with {missing}, as every release that was published to its end",
        cure="take another release; or remove the folder and run the pipeline again, which makes it anew",
    )


def _told(entry: Activation) -> dict[str, Any]:
    """An activation as the pointer's file has it."""
    said = asdict(entry)
    if not entry.registry_behind:
        del said["registry_behind"]
    return said
