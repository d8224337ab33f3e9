"""Follows the pointer: prepare a new release, open it beside the old, let its model be probed, swap.

Each worker runs one of these in a thread. A release that is bad is refused and reported, and what was served
before goes on being served; so it does while the store cannot be read. A worker starts from the local copy
that was last in use, before it looks at the store.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from serving import prepare
from serving.table import is_whole
from storecast.errors import ReleaseError, StorecastError
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore

POLL_SECONDS = 1.0
LIST_SECONDS = 15.0
RETRY_SECONDS = 30.0
"""After which a refused release is looked at again: it may have been damaged on its way only."""
PROBE_SECONDS = 6.0
"""How long a swap waits for the model's own probe, where something good is being served meanwhile."""
PREPARE_SECONDS = 300.0
IN_USE = "in-use.json"
VERDICT = "verdict.json"
log = logging.getLogger("storecast.serving")
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """What was last seen in the store: the releases, the activations, and whether the store answers."""

    releases: list[dict[str, Any]] = field(default_factory=list)
    current: str = ""
    activated: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    refused: dict[str, str] = field(default_factory=dict)


class Watcher(Generic[T]):
    """Keeps `value` the opened form of the current release.

    Args:
        settings: where releases and local copies are.
        open_folder: opens a prepared folder; raises a StorecastError where it is bad.
        judge: whether this watcher's opening is the model's probe, whose verdict others wait for.
        waits: whether to wait for that verdict.

    Attributes:
        value: what `open_folder` made of the release in use; None before the first.
        release: its id.
        before: what was in use before that.
        seen: the store as it was last seen.
        empty: whether the store was seen without any release.
        looked: set after the first look, whatever came of it.
        swaps: how many releases were taken into use.
        refusals: how many releases were refused.
        failures: how often the store could not be read.
    """

    def __init__(
        self,
        settings: Settings,
        open_folder: Callable[[Path], T],
        *,
        judge: bool = False,
        waits: bool = False,
    ) -> None:
        self.settings, self.open_folder = settings, open_folder
        self.judge, self.waits = judge, waits
        self.value: T | None = None
        self.release = ""
        self.before: tuple[str, T] | None = None
        self.empty = False
        self.seen = Seen()
        self.swaps = self.refusals = self.failures = 0
        self._retry: dict[str, float] = {}
        self._listed = 0.0
        self._pointer = ""
        self.looked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="release watcher", daemon=True)

    def start(self) -> None:
        """Open the local copy that was last in use, and follow the pointer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what is under way ends by itself."""
        self._stop.set()

    def _run(self) -> None:
        self._from_local_copy()
        while not self._stop.is_set():
            try:
                self.look()
            except Exception as error:  # a thread that must not die  # noqa: BLE001
                self._note_whether_empty()
                self._trouble(error)
            self.looked.set()
            self._stop.wait(POLL_SECONDS)

    def look(self) -> None:
        """One look at the pointer, and a swap if it names another release."""
        store = self.store()
        pointer = uris.join(store.root, "current.json")
        text = uris.read_text(pointer)
        if text != self._pointer or time.monotonic() - self._listed > LIST_SECONDS:
            self._list(store, text)
        self._check_verdict(store)
        wanted = self.seen.current
        if wanted and wanted != self.release and self._retry.get(wanted, 0.0) <= time.monotonic():
            self.take(store, wanted)

    def store(self) -> ReleaseStore:
        """The releases of the data set that is served.

        Raises:
            ReleaseError: there are several, and the settings do not say which.
        """
        store = DatasetStore(self.settings.root)
        name = self.settings.serving_dataset or self._only_dataset(store)
        return ReleaseStore(store, name)

    def local(self, dataset: str) -> Path:
        """Folder of the local copies of a data set's releases."""
        return self.settings.serving_home / dataset

    def take(self, store: ReleaseStore, release_id: str) -> None:
        """Prepare, open, await the verdict, swap; or refuse."""
        local = self.local(uris.name_of(store.root))
        try:
            folder = self._prepared(store, release_id, local)
            value = self.open_folder(folder)
            if self.waits and self.value is not None:
                self._await_verdict(folder)
        except (StorecastError, ValueError, KeyError) as error:
            if self.judge and (local / release_id).is_dir():
                _write(local / release_id / VERDICT, {"good": False, "why": _first_line(error)})
            self._refuse(release_id, _first_line(error))
            return
        self._swap(local, release_id, value)
        if self.judge:  # only now, so that who waits for it finds the model in place
            _write(local / release_id / VERDICT, {"good": True, "why": ""})

    def _swap(self, local: Path, release_id: str, value: T) -> None:
        self.swaps += 1
        if self.value is not None:
            self.before = (self.release, self.value)
        self.value, self.release = value, release_id
        self.seen.refused.pop(release_id, None)
        if not self.judge:
            _write(local / IN_USE, {"release": release_id})
        log.info("release %s is in use", release_id)

    def _check_verdict(self, store: ReleaseStore) -> None:
        """Go back where the model's probe found the release in use to be bad after all."""
        if not self.waits or not self.release or self.release in self._retry:
            return
        local = self.local(uris.name_of(store.root))
        verdict = _read(local / self.release / VERDICT)
        if verdict.get("good", True):
            return
        self._refuse(self.release, str(verdict["why"]))
        if self.before is not None:
            release, value = self.before
            self._swap(local, release, value)

    def _await_verdict(self, folder: Path) -> None:
        deadline = time.monotonic() + PROBE_SECONDS
        while time.monotonic() < deadline and not self._stop.wait(0.1):
            verdict = _read(folder / VERDICT)
            if verdict and not verdict["good"]:
                raise ReleaseError(str(verdict["why"]))
            if verdict:
                return

    def _prepared(self, store: ReleaseStore, release_id: str, local: Path) -> Path:
        """The prepared folder, made by a process of its own unless it is there.

        Raises:
            ReleaseError: the release is bad.
            OSError: the store could not be read, or the process broke.
        """
        target = local / release_id
        if not is_whole(target):
            command = [sys.executable, "-m", "serving.prepare", self.settings.root, uris.name_of(store.root)]
            done = subprocess.run(  # noqa: S603 (our own module)
                [*command, release_id, str(local)],
                capture_output=True, text=True, timeout=PREPARE_SECONDS, check=False,
            )  # fmt: skip
            said = done.stderr.strip()
            if done.returncode == prepare.BAD:
                raise ReleaseError(said.splitlines()[0] if said else "the release is bad")
            if done.returncode != 0:
                raise OSError(said.splitlines()[-1] if said else f"exit code {done.returncode}")
        return target

    def _from_local_copy(self) -> None:
        home = self.settings.serving_home
        names = [self.settings.serving_dataset] if self.settings.serving_dataset else _names(home)
        if len(names) != 1:
            return
        release_id = str(_read(home / names[0] / IN_USE).get("release", ""))
        folder = home / names[0] / release_id
        if not release_id or not is_whole(folder):
            return
        try:
            value = self.open_folder(folder)
        except (StorecastError, ValueError, KeyError, OSError) as error:
            log.warning("the local copy of %s cannot be used: %s", release_id, error)
            return
        self.value, self.release = value, release_id
        if self.judge:
            _write(folder / VERDICT, {"good": True, "why": ""})
        log.info("started from the local copy of release %s", release_id)

    def _list(self, store: ReleaseStore, pointer: str) -> None:
        history = json.loads(pointer)["history"]
        self.seen = Seen(
            releases=[{"id": name, "cutoff": name.rpartition("-")[0]} for name in store.ids()],
            current=str(history[-1]["id"]),
            activated={entry["id"]: entry["at"] for entry in history},
            refused=self.seen.refused,
        )
        self._pointer, self._listed = pointer, time.monotonic()

    def _only_dataset(self, store: DatasetStore) -> str:
        names = uris.children(uris.join(store.root, "releases"))
        if len(names) != 1:
            raise ReleaseError(
                "several data sets have releases" if names else "there is no release yet",
                where=store.root,
                expected="one, or the name of one in serving_dataset",
                found=", ".join(names),
            )
        return names[0]

    def _refuse(self, release_id: str, why: str) -> None:
        self._retry[release_id] = time.monotonic() + RETRY_SECONDS
        if self.seen.refused.get(release_id) != why:
            self.refusals += 1
            self.seen.refused[release_id] = why
            log.error("release %s is refused, %s goes on: %s", release_id, self.release or "none", why)

    def _trouble(self, error: Exception) -> None:
        text = _first_line(error)
        self.failures += 1
        if text != self.seen.trouble:
            log.warning("the store cannot be read, %s goes on: %s", self.release or "none", text)
        self.seen = Seen(**{**vars(self.seen), "trouble": text})
        self._pointer = ""

    def _note_whether_empty(self) -> None:
        """Whether no data set has a release yet: then there is nothing that a worker could still load."""
        if self.value is None and not self.empty:
            with contextlib.suppress(Exception):  # the store cannot be read, which is reported already
                self.empty = not uris.children(uris.join(DatasetStore(self.settings.root).root, "releases"))


def _names(home: Path) -> list[str]:
    return sorted(path.parent.name for path in home.glob(f"*/{IN_USE}"))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    uris.write_text(str(path), json.dumps(content) + "\n")
