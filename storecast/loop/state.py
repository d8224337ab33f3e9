"""What the loop's records say about now: the state that the policy decides on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from storecast.loop.decisions import Decision, pending

PASSES = ("nothing", "wait", "ask", "train")
"""Actions of a pass over new data; the others follow on one, or are about releases."""


ENDS = ("trained", "failed", "decline")
"""Actions by which a training that was started has ended; declined is one that a person gives up."""


@dataclass(frozen=True)
class Training:
    """A training that the loop has started.

    Attributes:
        started: when; with a time zone.
        as_of: date of the data that it learnt from.
        minutes: that it took; 0 while it is not known.
        failed: whether it has ended without a model.
    """

    started: datetime
    as_of: str
    minutes: float = 0.0
    failed: bool = False


@dataclass(frozen=True)
class LoopState:
    """What has been, as far as it bears on the next decision (`state_of`).

    Attributes:
        trained_to: cutoff (YYYY-MM-DD) of the data that the model which serves was fitted to; "" before the
            first release.
        trainings: those that the loop has started, the newest last.
        streak: days one after the other, up to the pass before this one, with a breach that counts, since
            the last training.
        seen_to: date of the last pass that is in `streak`.
        asked: id of the question to a person that is open; "" where there is none.
        approved: id of the question that has been answered with yes and not been acted on; "": none.
        declined: when a person last said no to a training; None where nobody has.
        in_shadow: id of the challenger that forecasts beside the champion; "": none.
    """

    trained_to: str = ""
    trainings: tuple[Training, ...] = ()
    streak: int = 0
    seen_to: str = ""
    asked: str = ""
    approved: str = ""
    declined: datetime | None = None
    in_shadow: str = ""

    @property
    def learnt_to(self) -> str:
        """Date of the newest data that a training has learnt from, or is about to; "" where there is none."""
        return max((each.as_of for each in self.trainings if not each.failed), default="")


def state_of(decisions: Sequence[Decision], trained_to: str) -> LoopState:
    """The state that records lead to.

    Args:
        decisions: all of a data set's, the oldest first.
        trained_to: cutoff of the data that the model which serves was fitted to; "" where none serves.
    """
    passes = [decision for decision in decisions if decision.action in PASSES]
    last = passes[-1] if passes else None
    asked, shadow = pending(decisions), in_shadow(decisions)
    return LoopState(
        trained_to=trained_to,
        trainings=tuple(_training(d, decisions) for d in passes if d.action == "train"),
        streak=last.streak if last and last.action != "train" else 0,
        seen_to=last.as_of if last else "",
        asked=asked[-1].id if asked else "",
        approved=approved(decisions),
        declined=max(
            (datetime.fromisoformat(d.at) for d in decisions if d.action == "decline"), default=None
        ),
        in_shadow=str(shadow.outcome["shadow"]) if shadow else "",
    )


def unfinished(decisions: Sequence[Decision]) -> Decision | None:
    """The last training that was started and of which no end is recorded; None where there is none."""
    ended = {d.follows for d in decisions if d.action in ENDS}
    started = [d for d in decisions if d.action == "train"]
    return started[-1] if started and started[-1].id not in ended else None


def on_trial(decisions: Sequence[Decision]) -> Decision | None:
    """The promotion whose release has neither proved itself nor been taken back; None where there is none."""
    found = None
    for decision in decisions:
        if decision.action == "promote":
            found = decision if decision.outcome.get("before") else None
        elif decision.action in {"keep", "rollback"}:
            found = None
    return found


def in_shadow(decisions: Sequence[Decision]) -> Decision | None:
    """The training whose challenger has neither been promoted nor rejected; None where there is none."""
    found = None
    for decision in decisions:
        if decision.action == "trained":
            found = decision if decision.outcome.get("shadow") else None
        elif decision.action in {"promote", "reject", "rollback"}:
            found = None
    return found


def approved(decisions: Sequence[Decision]) -> str:
    """Id of the question that was answered with yes since the last training; "" where there is none."""
    found = ""
    for decision in decisions:
        if decision.action == "approve":
            found = decision.follows
        elif decision.action in {"train", "decline"}:
            found = ""
    return found


def _training(decision: Decision, decisions: Sequence[Decision]) -> Training:
    ends = [d for d in decisions if d.action in ENDS and d.follows == decision.id]
    minutes = sum(float(end.outcome.get("minutes", 0.0)) for end in ends)
    failed = bool(ends) and all(end.action != "trained" for end in ends)
    return Training(datetime.fromisoformat(decision.at), decision.as_of, minutes, failed)
