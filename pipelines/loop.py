"""The loop as Prefect flows: `watch` looks at new data and decides, `retrain` does what was decided.

A pass of `watch`: what has arrived is ingested; what was served is monitored; a challenger in shadow and a
release on trial are judged; the policy decides whether to train; and the forecast that is current is made
anew from the new data. Each decision is a record. Where there is a platform, `retrain` is started by an
automation, on the event `storecast.retrain`; else it is called here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from components.activate import ends_before_current
from components.shadow import read_duel
from pipelines.executor import Argument
from pipelines.loop_ground import Ground
from pipelines.loop_partitions import Partitions, is_cut
from pipelines.loop_records import cause
from pipelines.pods import MOST_WAITING, PodOptions
from pipelines.probe import probe
from pipelines.steps import Outcome
from pipelines.training import reasons, training_flow
from storecast.loop.decisions import Decision
from storecast.loop.judge import Duel, judge_release, judge_shadow
from storecast.loop.policy import decide
from storecast.loop.state import ENDS, on_trial, state_of, unfinished
from storecast.monitor.health import Health, read_health
from storecast.store import uri as uris
from storecast.store.datasets import Dataset
from storecast.store.releases import Release

RUNNER = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=MOST_WAITING))


@flow(name="watch", flow_run_name="pass over {dataset}", persist_result=False, task_runner=RUNNER)
def watch_flow(
    dataset: str = "store_sales",
    data: str = "",
    policy: str = "default",
    workspace: str = "",
    by_event: bool = False,
    pods: PodOptions | None = None,
    at_once: Annotated[int, Field(ge=1)] = 1,
) -> list[Decision]:
    """Look at what has arrived, decide whether to train, and keep the forecast fresh.

    Of a data set that was cut, each partition has a pass, which trains without an event.

    Args:
        dataset: Data set config, by name or file.
        data: Folder or URI of the raw files.
        policy: Retraining policy, by name or file.
        workspace: Where data sets and releases lie; empty: as the settings say.
        by_event: Leave trainings to the automation that answers the event storecast.retrain.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
        at_once: Partitions under way at a time, each with its pods; in the flow's own process it is one.
    """
    watch = Watch(dataset, data, policy, workspace, pods)
    if not is_cut(watch):
        return watch.run(by_event)

    def one_pass(name: str, config: str, raw: str) -> list[Decision]:
        own = watch_flow.with_options(flow_run_name=f"pass over {name}")
        return own(config, raw, policy, workspace, pods=pods)

    return Partitions(watch, one_pass, at_once if pods else 1).run()


@flow(name="retrain", flow_run_name="training for {decision}", persist_result=False)
def retrain_flow(
    decision: str,
    dataset: str = "store_sales",
    data: str = "",
    policy: str = "default",
    workspace: str = "",
    pods: PodOptions | None = None,
) -> list[Decision]:
    """Do what a decision of the loop says: train, and record what came of it.

    Args:
        decision: Id of the decision.
        dataset: Data set config, by name or file.
        data: Folder or URI of the raw files.
        policy: Retraining policy, by name or file.
        workspace: Where data sets and releases lie; empty: as the settings say.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
    """
    watch = Watch(dataset, data, policy, workspace, pods)
    return watch.train(watch.records.log.get(decision))


class Watch(Ground):
    """The loop over one data set."""

    def run(self, by_event: bool) -> list[Decision]:
        """One pass; the decisions it has made."""
        started = datetime.now(UTC)
        with self.failures_told():
            self.take()
            panel = self._panel()
            health = self._health(panel)
            self._judge(panel, health)
            self.records.add(decide(self.policy, self._state(), health, datetime.now(UTC)))
        try:
            self._carry_out(by_event)  # which tells by itself of a training that fails
        except Exception:  # the forecast does not wait for a training that is broken
            self._refresh(panel, health)
            raise
        self._refresh(panel, health)
        since = started.isoformat(timespec="milliseconds")
        return [decision for decision in self.records.log.all() if decision.at >= since]

    def _carry_out(self, by_event: bool) -> None:
        """See that the training which was decided and has not ended is carried out.

        On a platform each pass asks for it again: one `retrain` runs at a time, and one whose decision has
        ended does nothing.
        """
        todo = unfinished(self.records.log.all())
        if todo and by_event:
            self.records.retrain(todo, self.parameters())
        elif todo:
            retrain_flow(todo.id, **self.parameters(), pods=self.pods)

    def train(self, decision: Decision) -> list[Decision]:
        """Train as decided; a decision whose training has ended is not carried out again."""
        log = self.records.log.all()
        if any(d.follows == decision.id and d.action in ENDS for d in log):
            return []
        began = time.monotonic()
        try:
            outcome = training_flow(
                self.dataset,
                self.data,
                self.policy.training,
                self.workspace,
                self.pods,
                self.actuals.uri,
                self.policy.shadow_days > 0,
            )
        except Exception as error:
            minutes = round((time.monotonic() - began) / 60, 3)
            self.follow(decision, "failed", "training", cause(error), {"minutes": minutes})
            raise
        return self._trained(decision, outcome, round((time.monotonic() - began) / 60, 3))

    def _trained(self, decision: Decision, outcome: Outcome, minutes: float) -> list[Decision]:
        """Record what a training came to: the gate's verdict, a challenger in shadow, or a new release."""
        promoted = bool(outcome.decision.counts["promoted"])
        why = " ".join(reasons(self.store.path(outcome.decision)))
        made = outcome.made.id if outcome.made else ""
        current = outcome.current.id if outcome.current else ""
        shadow = made if promoted and made != current else ""
        result = {"promoted": promoted, "release": made, "shadow": shadow, "minutes": minutes}
        said = [self.follow(decision, "trained", "gate", why, result)]
        if not promoted:
            said.append(self.follow(said[0], "reject", "gate", why, {}))
        elif not shadow:
            result = {"release": made, "before": self._before_current()}
            promote = self.follow(said[0], "promote", "gate", why, result)
            said += [promote, *self._served_or_back(promote)]
        return said

    def _before_current(self) -> str:
        """The release before the current one, "" where that is the first.

        It is asked of the pointer's history: a run that was killed may have made a release current before.
        """
        trail = self.releases.trail()
        return trail[-2] if len(trail) > 1 else ""

    def _served_or_back(self, promoted: Decision) -> list[Decision]:
        """See whether the release that became current is served; else the one before is current again."""
        release, before = (str(promoted.outcome[name]) for name in ("release", "before"))
        found = probe(self.settings, self.config.name, release)
        said = f"The service {found.status} it: {found.found}"
        probed = self.follow(promoted, "probed", "probe", said, {"release": release, "status": found.status})
        if found.status not in {"refused", "another"} or not before:
            return [probed]
        return [probed, *self.taken_back(probed, before)]

    def _judge(self, panel: Dataset, health: Health) -> None:
        """The challenger in shadow, and the release on trial."""
        log = self.records.log.all()
        current, shadow = self.releases.current(), state_of(log, "").in_shadow
        if shadow and current:
            champion = self.releases.get(self._before_current()) if current.id == shadow else current
            self._judge_shadow(panel, health, self.releases.get(shadow), champion)
            return
        trial = on_trial(log)
        if not trial or not current or self.policy.rollback is None:
            return
        release, before = (self.releases.get(str(trial.outcome[name])) for name in ("release", "before"))
        if current.about["evaluation"] != release.about["evaluation"]:  # which names the model
            return  # somebody has put another one in its place
        duel = self._duel(panel, release, before)
        action = judge_release(self.policy, duel)
        if action == "keep":
            self._note(health, "keep", "rollback", duel, {"release": release.id}, "the release before it")
        elif action == "rollback":
            if not self.activate(before, "rolled back by the loop: worse than this one", current.id):
                return
            outcome = {"release": before.id, "from": release.id}
            self._note(health, "rollback", "rollback", duel, outcome, "the release before it")

    def _judge_shadow(self, panel: Dataset, health: Health, challenger: Release, champion: Release) -> None:
        duel = self._duel(panel, challenger, champion)
        action = judge_shadow(self.policy, duel)
        outcome = {"release": challenger.id, "before": champion.id, "days": duel.days}
        if action == "shadow" and not duel.rows:
            return  # nothing to tell yet
        why = f"better than the champion on {duel.days} days in shadow"
        if action == "promote" and not self.activate(challenger, why, champion.id):
            return
        noted = self._note(health, action, "shadow", duel, outcome, "the champion")
        if action == "promote":
            self._served_or_back(noted)

    def _note(
        self, health: Health, action: str, rule: str, duel: Duel, outcome: Mapping[str, Any], older: str
    ) -> Decision:
        said = duel.says(str(outcome.get("from", outcome["release"])), older)
        made = Decision.of(health, action, rule, said, datetime.now(UTC), policy=self.policy.name)
        made = made.with_outcome({**outcome, "newer": duel.newer, "older": duel.older})
        self.records.add(made)
        return made

    def _refresh(self, panel: Dataset, health: Health) -> None:
        """See that the forecast is from the new data."""
        with self.failures_told():
            self._forecast_anew(panel, health)

    def _forecast_anew(self, panel: Dataset, health: Health) -> None:
        """The current model's forecast from the new data."""
        current = self.releases.current()
        if current is None or current.about["panel"] == panel.hash:
            return
        if behind := ends_before_current(self.releases, health.as_of):
            get_run_logger().warning("no forecast is made from these data. %s", behind)
            return
        uri = self.made("refresh", {"panel": panel.uri, "release": current.uri})
        made = self.releases.get(uris.name_of(uri))
        if not self.activate(made, "the champion's forecast from new data", current.id):
            return
        said = f"{current.id} forecasts from data up to {health.as_of}."
        decision = Decision.of(
            health, "refresh", "new data", said, datetime.now(UTC), policy=self.policy.name
        )
        self.records.add(decision.with_outcome({"release": made.id, "before": current.id}))

    def _panel(self) -> Dataset:
        arguments: dict[str, Argument] = {"dataset": self.dataset, "data": self.data}
        return self.store.open(self.made("ingest", {**arguments, "actuals": self.actuals.uri}))

    def _health(self, panel: Dataset) -> Health:
        """What monitoring says, as of the last day of data: without newer ones it is the same day again."""
        health = read_health(self.store.path(self.made("monitor", {"panel": panel.uri})))
        about = json.loads((self.store.path(panel) / "panel.json").read_text())
        return replace(health, as_of=str(about["cutoff"]))

    def _duel(self, panel: Dataset, newer: Release, older: Release) -> Duel:
        arguments: dict[str, Argument] = {"panel": panel.uri, "release": newer.uri, "other": older.uri}
        return read_duel(self.store.path(self.made("shadow", arguments)))

    def _state(self) -> Any:
        current = self.releases.current()
        return state_of(self.records.log.all(), str(current.about["fitted_to"]) if current else "")
