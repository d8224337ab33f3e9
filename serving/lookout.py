"""Looks at the store: which data set is served, which releases it has, which one the pointer names."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

from storecast.errors import ConfigError, ReleaseError
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import POINTER, ReleaseStore, datasets, trail

LIST_SECONDS = 15.0
"""How often the store's folders are listed; in between one file is read, the pointer."""
log = logging.getLogger("storecast.serving")


@dataclass(frozen=True)
class Seen:
    """What was last seen in the store.

    Attributes:
        releases: all there are: `id`, `cutoff`.
        current: the one that the pointer names; "" before the first look.
        trail: those that going back leads through, oldest first; the last is the current one.
        activated: when each was last activated.
        trouble: why the store cannot be read, or which data sets there are to choose from; "" where all is
            well.
        undecided: whether several data sets have releases, and nothing says which of them to serve.
    """

    releases: list[dict[str, Any]] = field(default_factory=list)
    current: str = ""
    trail: list[str] = field(default_factory=list)
    activated: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    undecided: bool = False


class Lookout:
    """Keeps `seen`: the store as it was last seen.

    Attributes:
        seen: replaced whole, so that other threads read one state of it.
        dataset: the data set that is served, or was last; "" before one is chosen.
        failures: how often the store could not be read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seen = Seen()
        self.dataset = settings.serving_dataset
        self.failures = 0
        self._store: ReleaseStore | None = None
        self._listed = 0.0
        self._pointer = ""
        self._beside: list[str] = []

    def store(self) -> ReleaseStore:
        """The releases of the data set that is served.

        Raises:
            ConfigError: there are several, none is served yet, and the settings do not say which to serve.
            ReleaseError: there is none.
        """
        if self._store is None or not self._is_listed():
            store = DatasetStore(self.settings.root)
            self.dataset = self.settings.serving_dataset or self._chosen(store)
            self._store = ReleaseStore(store, self.dataset)
        return self._store

    def look(self) -> ReleaseStore:
        """Read the pointer; list the releases where it has changed, and now and then.

        Raises:
            StoreError, OSError: the store cannot be read.
            ConfigError, ReleaseError: see `store`.
        """
        store = self.store()
        pointer = uris.read_text(uris.join(store.root, POINTER))
        if pointer != self._pointer or not self._is_listed():
            history = json.loads(pointer)["history"]
            ids = [str(entry["id"]) for entry in history]
            there = store.ids(known={each["id"] for each in self.seen.releases})
            self.seen = Seen(
                releases=[{"id": name, "cutoff": name.rpartition("-")[0]} for name in there],
                current=ids[-1],
                trail=trail(ids),
                activated={entry["id"]: entry["at"] for entry in history},
            )
            self._pointer, self._listed = pointer, time.monotonic()
        return store

    def missed(self, trouble: str, *, undecided: bool = False) -> bool:
        """Note that the store could not be read, or that it is undecided what to serve; whether that is
        news."""
        news = trouble != self.seen.trouble
        self.failures += not undecided
        self.seen = replace(self.seen, trouble=trouble, undecided=undecided)
        self._pointer = ""
        return news

    def nothing_released(self) -> bool:
        """Whether the store is seen without a release of any data set: nothing that could still be loaded."""
        with contextlib.suppress(Exception):  # the store cannot be read, which is reported already
            return not uris.children(uris.join(DatasetStore(self.settings.root).root, "releases"))
        return False

    def _is_listed(self) -> bool:
        """Whether the pointer was read after the folders were listed, a moment ago."""
        return bool(self._pointer) and time.monotonic() - self._listed <= LIST_SECONDS

    def _chosen(self, store: DatasetStore) -> str:
        """The only data set, or of several the one that is served already."""
        names = datasets(store)
        if len(names) == 1:
            return names[0]
        if not names:
            raise ReleaseError("there is no release yet", where=store.root)
        found = f"several data sets have releases: {', '.join(names)}"
        if not self.dataset:
            raise ConfigError(f"{found}; it has to name one", where="serving_dataset")
        if names != self._beside:
            self._beside = names
            log.warning(
                "%s; %s goes on being served, and serving_dataset has to name it", found, self.dataset
            )
        return self.dataset
