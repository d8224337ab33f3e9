"""What the loop has under way, and what it needs of the store: no retention may take that away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from storecast.loop.decisions import Decision, DecisionLog, pending
from storecast.loop.state import approved, in_shadow, on_trial, unfinished
from storecast.store import uri as uris
from storecast.store.needed import Held


def held_by_loops(root: str) -> list[Held]:
    """What the loops over all data sets of a workspace hold.

    Raises:
        StoreError: a decision cannot be read, so nobody knows what is under way.
    """
    return [held(name, DecisionLog(root, name).all()) for name in uris.children(uris.join(root, "loop"))]


def decided(root: str) -> set[str]:
    """Names of all decisions of a workspace: while none is added, the loops hold what they held."""
    folders = [uris.join("loop", name, "decisions") for name in uris.children(uris.join(root, "loop"))]
    return {uris.join(folder, name) for folder in folders for name in uris.children(uris.join(root, folder))}


def held(dataset: str, decisions: Sequence[Decision]) -> Held:
    """What one data set's loop holds.

    A challenger in shadow, and a release on trial with the one before it, stay until they have been judged.
    The decisions that say so stay, with those that led to them and all that came after: they are the loop's
    only state. The same holds for a question that is open, and for a training that has not ended.

    Args:
        dataset: its name.
        decisions: all of its decisions, the oldest first.
    """
    releases, paths = dict[str, str](), dict[str, str]()
    for decision, why, needs in _open(decisions):
        releases |= {release: why for release in needs if release}
        for each in _around(decision, decisions):
            paths.setdefault(f"loop/{dataset}/decisions/{each.id}.json", why)
    return Held(dataset, releases, paths)


def _open(decisions: Sequence[Decision]) -> Iterator[tuple[Decision, str, tuple[str, ...]]]:
    """What has not come to its end: a decision, why it matters, and the releases that it needs."""
    if shadow := in_shadow(decisions):
        challenger = str(shadow.outcome["shadow"])
        yield shadow, f"the challenger {challenger} is in shadow", (challenger,)
    if trial := on_trial(decisions):
        release, before = (str(trial.outcome[name]) for name in ("release", "before"))
        yield trial, f"the release {release} is on trial", (release, before)
    if training := unfinished(decisions):
        yield training, f"the training of {training.id} has not ended", ()
    yes = approved(decisions)
    for question in [*pending(decisions), *(each for each in decisions if each.id == yes)]:
        yield question, f"the question {question.id} is open", ()


def _around(decision: Decision, decisions: Sequence[Decision]) -> Iterator[Decision]:
    """A decision, those that it follows on, and all that came after it."""
    by_id = {each.id: each for each in decisions}
    earlier = by_id.get(decision.follows)
    while earlier:
        yield earlier
        earlier = by_id.get(earlier.follows)
    yield from decisions[decisions.index(decision) :]
