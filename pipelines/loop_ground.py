"""What the loop's flows work with: the data set's config, policy, store, releases, actuals and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from prefect import get_run_logger

from components.stage import open_store
from pipelines.executor import Argument, Executor
from pipelines.loop_records import Records
from pipelines.pods import PodOptions, executor_for
from storecast.actuals import Actuals
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.loop.decisions import Decision, DecisionLog
from storecast.loop.policy import Policy, load_policy
from storecast.settings import Settings, load_settings
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore


@dataclass(frozen=True)
class Ground:
    """One data set under a policy.

    Attributes:
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        policy_name: retraining policy, by name or file.
        workspace: where data sets and releases lie; "": as the settings say.
        pods: how stages run as pods; None: in this process.
    """

    dataset: str
    data: str
    policy_name: str
    workspace: str
    pods: PodOptions | None

    def parameters(self) -> dict[str, str]:
        """What another flow over the same ground is given."""
        named = {"dataset": self.dataset, "data": self.data, "policy": self.policy_name}
        return {**named, "workspace": self.workspace}

    def take(self) -> None:
        """Take what lies in the drop folder; what may not be removed from it is told, and ends no pass."""
        inbox = self.settings.inbox(self.config.name)
        if left := [receipt for receipt in self.actuals.take(inbox) if receipt.left]:
            get_run_logger().warning(
                "files that were taken stay in %s (%d): %s. Give the right to delete there "
                "(docs/security.md), or each pass reads them again.",
                inbox,
                len(left),
                left[0].left,
            )

    def made(self, stage: str, arguments: Mapping[str, Argument]) -> str:
        """Run a stage; the URI of what it made."""
        label = f"{stage} {uris.name_of(str(arguments.get('release', '')))}".strip()
        given = {**arguments, "workspace": self.workspace}
        return self.executor.submit(stage, label, given).result()

    @contextmanager
    def failures_told(self) -> Iterator[None]:
        """Have what fails in the block recorded and told, before it goes on as it is."""
        try:
            yield
        except Exception as error:
            self.records.failed(self.config.name, error)
            raise

    def activate(self, release: Release, why: str, instead_of: str) -> bool:
        """Make a release current in the place of another; whether it is.

        Where people have put a third one there meanwhile, it stays: the next pass decides about that.
        """
        given = {"release": release.uri, "why": why, "instead_of": instead_of}
        current = uris.name_of(self.made("activate", given))
        if current != release.id:
            get_run_logger().warning(
                "%s is not made current (%s): %s is no longer the current release, %s is, which stays.",
                release.id,
                why,
                instead_of,
                current,
            )
        return current == release.id

    def taken_back(self, probed: Decision, before: str) -> list[Decision]:
        """Make the release before current again, where the service does not serve a new one.

        Returns:
            The rollback; nothing where people have made another release current meanwhile.
        """
        release = str(probed.outcome["release"])
        if not self.activate(self.releases.get(before), "rolled back by the loop: probe", release):
            return []
        because = f"{release} was not served, so {before} is current again. {probed.because}"
        return [self.follow(probed, "rollback", "probe", because, {"release": before})]

    def follow(
        self, decision: Decision, action: str, rule: str, why: str, outcome: Mapping[str, Any]
    ) -> Decision:
        """Record what follows on a decision."""
        made = decision.next(action, rule, why, datetime.now(UTC), outcome)
        self.records.add(made)
        return made

    @cached_property
    def config(self) -> DatasetConfig:
        """The data set's config."""
        return load_dataset_config(config_file(self.dataset, "datasets"))

    @cached_property
    def policy(self) -> Policy:
        """The policy."""
        return load_policy(self.policy_name)

    @cached_property
    def settings(self) -> Settings:
        """The settings."""
        return load_settings()

    @cached_property
    def store(self) -> DatasetStore:
        """Where data sets lie."""
        return open_store(self.workspace)

    @cached_property
    def executor(self) -> Executor:
        """Where stages run."""
        return executor_for(self.pods)

    @cached_property
    def actuals(self) -> Actuals:
        """What has arrived."""
        return Actuals(self.store.root, self.config)

    @cached_property
    def releases(self) -> ReleaseStore:
        """The data set's releases."""
        return ReleaseStore(self.store, self.config.name)

    @cached_property
    def records(self) -> Records:
        """The data set's decisions."""
        return Records(DecisionLog(self.store.root, self.config.name), self.settings)
