"""A decision of the loop, made known: kept as a record, emitted as a Prefect event, told to people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from prefect.events import emit_event

from pipelines.notify import tell
from storecast.errors import StorecastError
from storecast.loop.decisions import Decision, DecisionLog
from storecast.loop.state import PASSES
from storecast.settings import Settings

logger = logging.getLogger("storecast.loop")

EVENTS = {
    "train": "storecast.training",
    "trained": "storecast.trained",
    "failed": "storecast.failure",
    "ask": "storecast.approval",
    "promote": "storecast.promotion",
    "reject": "storecast.rejection",
    "rollback": "storecast.rollback",
    "refresh": "storecast.refresh",
}
"""Prefect events by action; `storecast.breach` comes besides, when other checks are breached than before."""

RETRAIN = "storecast.retrain"
"""The event that the platform's automation answers with a run of `retrain`."""


@dataclass(frozen=True)
class Records:
    """Where a data set's decisions go.

    Attributes:
        log: the records.
        settings: whom to tell.
    """

    log: DecisionLog
    settings: Settings

    def add(self, decision: Decision) -> bool:
        """Record a decision, and say so; nothing happens where it has been recorded already."""
        breach = bool(decision.seen) and decision.action in PASSES and self._is_new(decision)
        if not self.log.record(decision):
            return False
        if breach:
            self._say("storecast.breach", "breach", decision)
        if event := EVENTS.get(decision.action):
            self._say(event, decision.action, decision)
        return True

    def failed(self, dataset: str, error: Exception) -> None:
        """Record that a step of a pass failed, and say so: of one cause once, until newer data are seen.

        Where the store is what fails, it is said without a record, by each pass.
        """
        now = datetime.now(UTC)
        at, today = now.isoformat(timespec="milliseconds"), now.date().isoformat()
        decision = Decision(dataset, today, at, "", "failed", "pass", cause(error))
        try:
            if log := self.log.all():
                decision = replace(decision, as_of=log[-1].as_of, release=log[-1].release)
            self.add(decision)
        except Exception as unwritten:  # what failed before is the one to raise  # noqa: BLE001
            logger.warning("a failure could not be recorded: %s", cause(unwritten))
            self._say(EVENTS["failed"], "failed", decision)

    def retrain(self, decision: Decision, parameters: Mapping[str, Any]) -> None:
        """Ask the platform for a training."""
        emit_event(RETRAIN, _resource(decision), payload={"decision": decision.id, **parameters})

    def _is_new(self, decision: Decision) -> bool:
        """Whether checks are breached that were not in the pass before."""
        passes = [d for d in self.log.all() if d.action in PASSES]
        last = {(check.name, check.segment) for check in passes[-1].seen} if passes else set()
        return any((check.name, check.segment) not in last for check in decision.seen)

    def _say(self, event: str, topic: str, decision: Decision) -> None:
        emit_event(event, _resource(decision), payload={"id": decision.id, **decision.to_dict()})
        tell(self.settings, decision, topic)


def cause(error: Exception) -> str:
    """What an error says; of one that is not storecast's, its type besides."""
    return str(error) if isinstance(error, StorecastError) else f"{type(error).__name__}: {error}"


def _resource(decision: Decision) -> dict[str, str]:
    return {
        "prefect.resource.id": f"storecast.dataset.{decision.dataset}",
        "prefect.resource.name": decision.dataset,
        "storecast.release": decision.release,
    }
