"""Decisions of the loop as records that never change: what was seen, which rule, what followed.

    loop/<data set>/decisions/<as_of>-<hash>.json     under the workspace, one file per decision

The state of the loop is what its records say; there is no other. A record is named by what was seen and
what was decided, so a pass that is repeated, or two at once, write the same one. What follows a decision is
a record of its own that names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from storecast.errors import StoreError
from storecast.monitor.health import Check, Health
from storecast.store import uri as uris

ACTIONS = {
    "nothing": "no training is due",
    "wait": "a training is due, and a rule forbids it",
    "ask": "a training waits for a person's yes",
    "approve": "a person said yes",
    "decline": "a person said no",
    "train": "a training starts",
    "trained": "a training ended",
    "failed": "a training, or another step, failed",
    "shadow": "a challenger goes on forecasting beside the champion",
    "promote": "a release becomes current",
    "probed": "the service was asked whether it serves a release",
    "reject": "a challenger does not become current",
    "keep": "a release has proved itself",
    "rollback": "the release before becomes current again",
    "refresh": "the champion's forecast from new data becomes current",
}
"""What a decision may come to, in words."""


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        dataset: name of the data set.
        as_of: date (YYYY-MM-DD) up to which actuals were seen.
        at: when it was decided, ISO 8601 in UTC.
        release: id of the release that was current; "" before the first.
        action: one of `ACTIONS`.
        rule: the part of the policy that led to it, such as breach, schedule, cooldown, shadow, rollback.
        because: sentences with numbers, for people.
        policy: name of the policy.
        streak: days in a row with a breach that counts.
        seen: the breached checks.
        follows: id of the decision that this one follows on; "" where it is the first.
        outcome: what it came to: ids of releases and runs, scores, minutes.
    """

    dataset: str
    as_of: str
    at: str
    release: str
    action: str
    rule: str
    because: str
    policy: str = ""
    streak: int = 0
    seen: tuple[Check, ...] = ()
    follows: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise StoreError("there is no such action", expected=", ".join(ACTIONS), found=self.action)

    @classmethod
    def of(
        cls,
        health: Health,
        action: str,
        rule: str,
        because: str,
        now: datetime,
        *,
        policy: str = "",
        streak: int = 0,
    ) -> Self:
        """A decision on what a day's health says."""
        at = now.astimezone(UTC).isoformat(timespec="milliseconds")
        said = (health.dataset, health.as_of, at, health.release, action, rule, because)
        return cls(*said, policy=policy, streak=streak, seen=health.breaches)

    @cached_property
    def id(self) -> str:
        """The date and a hash of what was seen and decided: who decides the same again finds it decided.

        Neither the hour nor the release that is current meanwhile makes it another decision.
        """
        content = {key: value for key, value in self.to_dict().items() if key not in {"at", "release"}}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.as_of}-{digest[:10]}"

    def following(self, decision: str) -> Self:
        """The same, as what follows on another decision."""
        return replace(self, follows=decision)

    def with_outcome(self, outcome: Mapping[str, Any]) -> Self:
        """The same, with what it came to."""
        return replace(self, outcome=dict(outcome))

    def next(
        self, action: str, rule: str, because: str, now: datetime, outcome: Mapping[str, Any] | None = None
    ) -> Self:
        """What follows on this decision."""
        return replace(
            self,
            at=now.astimezone(UTC).isoformat(timespec="milliseconds"),
            action=action,
            rule=rule,
            because=because,
            follows=self.id,
            outcome=dict(outcome or {}),
            seen=(),
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {**asdict(self), "seen": [asdict(check) for check in self.seen], "outcome": dict(self.outcome)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        known = {key: value for key, value in data.items() if key != "id"}
        return cls(**{**known, "seen": tuple(Check(**check) for check in data["seen"])})


class DecisionLog:
    """The decisions on one data set, under a workspace."""

    def __init__(self, root: str, dataset: str) -> None:
        self.root = uris.join(root, "loop", dataset, "decisions")

    def record(self, decision: Decision) -> bool:
        """Write a decision, whole; whether it is new: False where it has been recorded already."""
        text = json.dumps({"id": decision.id, **decision.to_dict()}, indent=1, sort_keys=True)
        return uris.create_text(uris.join(self.root, f"{decision.id}.json"), text + "\n")

    def all(self, since: str = "") -> list[Decision]:
        """All decisions, the oldest first; of one moment, what follows on another after that one.

        Args:
            since: date (YYYY-MM-DD) of the first data to be told of; "": from the beginning.
        """
        names = [name for name in uris.children(self.root) if name.endswith(".json") and name >= since]
        found = [self.read(name) for name in names if not name.startswith(".")]
        by_id = {decision.id: decision for decision in found}

        def order(decision: Decision) -> tuple[str, str, int, str]:
            return (decision.at, decision.as_of, _steps_before(decision, by_id), decision.id)

        return sorted(found, key=order)

    def get(self, decision_id: str) -> Decision:
        """One decision by id, or by a beginning of it that no other shares.

        Raises:
            StoreError: there is none, or there are several.
        """
        names = [name for name in uris.children(self.root) if name.startswith(decision_id)]
        if len(names) != 1 or not decision_id:
            raise StoreError(
                f"{'no decision' if not names else 'more than one decision'} matches {decision_id!r}",
                where=self.root,
                cure="storecast loop decisions lists them",
            )
        return self.read(names[0])

    def read(self, name: str) -> Decision:
        """The decision in a file of the folder.

        Raises:
            StoreError: the file holds none.
        """
        return read_decision(uris.join(self.root, name))


def read_decision(uri: str) -> Decision:
    """The decision in a file.

    Raises:
        StoreError: the file holds none.
    """
    try:
        return Decision.from_dict(json.loads(uris.read_text(uri)))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            "this is not a decision's record",
            where=uri,
            found=str(error),
            cure="restore the file from a backup, or move it away",
        ) from error


def pending(decisions: Sequence[Decision]) -> list[Decision]:
    """The questions to a person that are open: a newer question, or a training, closes those before it."""
    answered = {decision.follows for decision in decisions}
    closed = [i for i, decision in enumerate(decisions) if decision.action in {"ask", "train"}]
    return [
        decision
        for i, decision in enumerate(decisions)
        if decision.action == "ask" and decision.id not in answered and i >= closed[-1]
    ]


def _steps_before(decision: Decision, by_id: Mapping[str, Decision]) -> int:
    """How many decisions lead to one: that which it follows on, and so forth."""
    count, earlier = 0, by_id.get(decision.follows)
    while earlier:
        count, earlier = count + 1, by_id.get(earlier.follows)
    return count
