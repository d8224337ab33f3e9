"""Follows the pointer: prepare a new release, open it beside the old, let its model be probed, swap.

Each worker runs one of these in a thread. A release that is bad is refused and reported, and what was served
before goes on being served; so it does while the store cannot be read. A worker starts from the local copy
that was last in use, before it looks at the store. Where nothing is being served yet and the current release
is refused, the one before it that is good is served.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from serving import notices, prepare
from serving.lookout import Lookout, Seen
from serving.notices import Verdict
from serving.table import is_whole
from storecast.errors import ConfigError, ReleaseError, StorecastError
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.store.releases import ReleaseStore

POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""After which a refused release is looked at again: it may have been damaged on its way only."""
UNREAD_SECONDS = 5.0
"""After which one that could not be fetched or opened is: a download may be large."""
PROBE_SECONDS = 6.0
"""How long a swap waits for the model's own probe, where something good is being served meanwhile."""
FIRST_PROBE_SECONDS = 60.0
"""How long it waits where nothing is being served: a busy machine takes half of it to import a model."""
log = logging.getLogger("storecast.serving")
T = TypeVar("T")


class Watcher(Generic[T]):
    """Keeps `value` the opened form of the current release.

    Args:
        settings: where releases and local copies are.
        open_folder: opens a prepared folder; raises anything but an OSError where it is bad.
        judge: whether this watcher's opening is the model's probe, whose verdict others wait for.
        waits: whether to wait for that verdict.

    Attributes:
        value: what `open_folder` made of the release in use; None before the first.
        release: its id.
        before: what was in use before that.
        lookout: the store as it was last seen.
        refused: the releases that were refused, with the reason.
        empty: whether the store was seen without any release, and none was refused since.
        looked: set after the first look, whatever came of it.
        swaps: how many releases were taken into use.
        refusals: how many releases were refused.
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
        self.lookout = Lookout(settings)
        self.refused: dict[str, str] = {}
        self.empty = False
        self.swaps = self.refusals = 0
        self._retry: dict[str, float] = {}
        self.looked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="release watcher", daemon=True)

    @property
    def seen(self) -> Seen:
        """The store as it was last seen."""
        return self.lookout.seen

    def start(self) -> None:
        """Open the local copy that was last in use, and follow the pointer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what is under way ends by itself."""
        self._stop.set()

    def _run(self) -> None:
        self._safely(self.resume)
        while not self._stop.is_set():
            self._safely(self.look)
            self.looked.set()
            self._stop.wait(POLL_SECONDS)

    def _safely(self, step: Callable[[], None]) -> None:
        """Do one step of a thread that must not die."""
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self.empty = self.empty or (self.value is None and self.lookout.nothing_released())
            why, undecided = _first_line(error), isinstance(error, ConfigError)
            on = f"the store cannot be read, {self.release or 'none'} goes on"
            if self.lookout.missed(why, undecided=undecided):
                log.warning("%s: %s", "no release is served" if undecided else on, why)

    def resume(self) -> None:
        """Open the local copy that was last in use, if it is still good."""
        home = self.settings.serving_home
        names = [self.settings.serving_dataset] if self.settings.serving_dataset else notices.datasets(home)
        if len(names) != 1:
            return
        self.lookout.dataset = names[0]
        release_id = notices.in_use(home / names[0])
        if not release_id or not is_whole(folder := home / names[0] / release_id):
            return
        try:
            value = self._opened(folder)
        except (StorecastError, OSError) as error:
            log.warning("the local copy of %s cannot be used: %s", release_id, _first_line(error))
            return
        self.value, self.release = value, release_id
        if self.judge:
            notices.give_verdict(folder, Verdict(good=True))
        log.info("started from the local copy of release %s", release_id)

    def look(self) -> None:
        """One look at the pointer, and a swap if it names another release."""
        store = self.lookout.look()
        self._heed_verdict(store)
        wanted = self._wanted()
        if wanted and wanted != self.release and self._retry.get(wanted, 0.0) <= time.monotonic():
            self.take(store, wanted)

    def local(self, store: ReleaseStore) -> Path:
        """Folder of the local copies of a data set's releases."""
        return self.settings.serving_home / uris.name_of(store.root)

    def take(self, store: ReleaseStore, release_id: str) -> None:
        """Prepare, open, await the verdict, swap; or refuse."""
        local = self.local(store)
        try:
            value = self._opened(prepare.aside(self.settings.root, local, release_id))
        except StorecastError as error:
            if self.judge and (local / release_id).is_dir():
                notices.give_verdict(local / release_id, Verdict(good=False, why=_first_line(error)))
            self._refuse(release_id, _first_line(error))
            return
        except OSError:
            self._retry[release_id] = time.monotonic() + UNREAD_SECONDS
            raise
        self._swap(local, release_id, value)
        if self.judge:  # only now, so that who waits for it finds the model in place
            notices.give_verdict(local / release_id, Verdict(good=True))

    def refuses(self, store: ReleaseStore, release_id: str) -> bool:
        """Whether a release was refused here, or would be for what it holds.

        Raises:
            OSError: the store could not be read.
        """
        local = self.local(store)
        verdict = notices.verdict(local / release_id)
        if release_id in self.refused or (verdict is not None and not verdict.good):
            return True
        try:
            prepare.aside(self.settings.root, local, release_id)
        except ReleaseError:
            return True
        return False

    def _wanted(self) -> str:
        """The release to take: the current one, or where nothing is in use, the last that was not refused."""
        seen = self.seen
        good = [name for name in seen.trail if name not in self.refused]
        return good[-1] if self.value is None and good else seen.current

    def _opened(self, folder: Path) -> T:
        """What is made of a prepared folder, when its model has been found good or has had its time.

        Raises:
            StorecastError: the release is bad.
            OSError: the folder cannot be read.
        """
        try:
            value = self.open_folder(folder)
        except (StorecastError, OSError):
            raise
        except Exception as error:  # each library of a model's raises its own
            why = f"{type(error).__name__}: {_first_line(error)}"
            raise ReleaseError(f"release {folder.name} cannot be opened: {why}") from error
        if self.waits:
            self._await_verdict(folder, FIRST_PROBE_SECONDS if self.value is None else PROBE_SECONDS)
        return value

    def _await_verdict(self, folder: Path, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (verdict := notices.verdict(folder)) is None:
            if time.monotonic() > deadline or self._stop.wait(0.1):
                log.warning("the model of release %s is not judged yet; it is taken into use", folder.name)
                return
        if not verdict.good:
            raise ReleaseError(verdict.why)

    def _swap(self, local: Path, release_id: str, value: T) -> None:
        self.swaps += 1
        if self.value is not None:
            self.before = (self.release, self.value)
        self.value, self.release = value, release_id
        self.refused.pop(release_id, None)
        if not self.judge:
            notices.use(local, release_id)
        log.info("release %s is in use", release_id)

    def _heed_verdict(self, store: ReleaseStore) -> None:
        """Give up the release in use where the model's probe found it to be bad after all."""
        if not self.waits or not self.release:
            return
        local = self.local(store)
        verdict = notices.verdict(local / self.release)
        if verdict is None or verdict.good:
            return
        self._refuse(self.release, verdict.why)
        if self.before is not None and self.before[0] not in self.refused:
            release, value = self.before
            self._swap(local, release, value)
        else:
            self.value, self.release = None, ""

    def _refuse(self, release_id: str, why: str) -> None:
        self._retry[release_id] = time.monotonic() + RETRY_SECONDS
        self.empty = False
        if self.refused.get(release_id) != why:
            self.refusals += 1
            self.refused[release_id] = why
            log.error("release %s is refused, %s goes on: %s", release_id, self.release or "none", why)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
