"""A pass of the loop over a data set that was cut.

What has arrived is dealt, each partition has a pass of its own, and their releases are made one anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from prefect import get_run_logger

from components.partition import data_of
from components.stage import progress
from pipelines.executor import Argument
from pipelines.loop_ground import Ground
from pipelines.partitioned import each_partition, evaluation_of, failure, hand_out, join
from pipelines.probe import probe
from storecast.errors import ReleaseError
from storecast.loop.decisions import Decision
from storecast.partition.places import kept
from storecast.store.datasets import Dataset
from storecast.store.releases import Release, ReleaseStore, part_names

OnePass = Callable[[str, str, str], list[Decision]]
"""A pass over one partition: called with its name, its data set config and its raw files."""


def is_cut(ground: Ground) -> bool:
    """Whether the data set has partitions that were released, and no later release that is not of them."""
    places, current = kept(ground.store, ground.config.name), ground.releases.current()
    names = part_names(ground.store, ground.config.name)
    return places is not None and (current is None or not current.lineage().keys().isdisjoint(names))


@dataclass(frozen=True)
class Partitions:
    """The partitions of a data set under a policy.

    Attributes:
        ground: of the data set that was cut.
        one_pass: over one of them.
        at_once: how many are under way at a time.
    """

    ground: Ground
    one_pass: OnePass
    at_once: int

    def run(self) -> list[Decision]:
        """A pass over each; the decisions that were made. One that fails stops no other.

        Raises:
            RunError: some have failed: names them; the others are done.
        """
        ground, log = self.ground, get_run_logger()
        with ground.failures_told():
            ground.take()
            hand_out(ground.store, ground.config, ground.data, self.cut)
        labels = {name: f"partition {n} of {len(self.names)}: {name}" for n, name in enumerate(self.names, 1)}

        def attempt(name: str) -> list[Decision]:
            with progress.stage(labels[name]):
                return self.one_pass(name, *data_of(self.cut.uri, name))

        done, failed = each_partition(attempt, self.names, self.at_once)
        with ground.failures_told():
            try:
                joined = self._join()
            except ReleaseError as error:  # the one that is current stays
                log.warning("the partitions' releases are not made one: %s", error)
                joined = []
        if failed:
            raise failure(ground.config.name, failed)
        return [decision for made in [*done.values(), joined] for decision in made]

    @cached_property
    def cut(self) -> Dataset:
        """The raw files, cut as they were before."""
        places = kept(self.ground.store, self.ground.config.name)
        named: dict[str, Argument] = {"dataset": self.ground.dataset, "data": self.ground.data}
        most = {"series": str(places.most)} if places else {}
        return self.ground.store.open(self.ground.made("partition", {**named, **most}))

    @cached_property
    def names(self) -> list[str]:
        """The partitions' names."""
        return [str(about["name"]) for about in self.cut.counts["partitions"]]

    def _join(self) -> list[Decision]:
        """Make the partitions' current releases one, where they are others than those of the last one.

        Returns:
            Whether the service serves it, and that the one before is current again, where it refuses it.

        Raises:
            ReleaseError: they cannot be one.
        """
        ground, before = self.ground, self.ground.releases.current()
        found = {name: ReleaseStore(ground.store, name).current() for name in self.names}
        current = {name: release for name, release in found.items() if release is not None}
        joined_before = before.lineage() if before else {}
        if all(name in current and joined_before.get(name) == current[name].id for name in self.names):
            return []
        if without := sorted(set(self.names) - set(current)):
            raise ReleaseError("not every partition has a release", found=f"none of {', '.join(without)}")
        parts: dict[str, Argument] = {"partition": self.cut.uri, "workspace": ground.workspace}
        scores = [evaluation_of(ground.store, release) for release in current.values()]
        report = ground.executor.submit(
            "partitions_report", "partitions report", {**parts, "evaluation": scores}
        )
        releases = [release.uri for release in current.values()]
        made = join(ground.executor, ground.releases, {**parts, "report": report, "release": releases})
        return self._served_or_back(made, before) if before and ground.releases.current() == made else []

    def _served_or_back(self, release: Release, before: Release) -> list[Decision]:
        """See whether the service takes the release; where it refuses it, the one before is current again."""
        name, now = self.ground.config.name, datetime.now(UTC).isoformat(timespec="milliseconds")
        found = probe(self.ground.settings, name, release.id)
        said = f"The service {found.status} it: {found.found}"
        probed = Decision(name, str(release.about["cutoff"]), now, release.id, "probed", "probe", said)
        probed = probed.with_outcome({"release": release.id, "status": found.status})
        self.ground.records.add(probed)
        return [probed, *(self.ground.taken_back(probed, before.id) if found.status == "refused" else [])]
