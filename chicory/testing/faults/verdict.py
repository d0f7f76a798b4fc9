"""The verdict on a run: which promises were broken. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from chicory.states import TaskState
from chicory.testing.faults.case import Breach, Broken, Case, Terms
from chicory.testing.faults.ledger import Entry, in_order
from chicory.testing.faults.troubles import Troubles


class Left(Struct, frozen=True):
    """What the broker holds after the run.

    Attributes:
        outcomes: the final state of each call that has one.
        letters: the dead letters, each a call's id and a reason.
        queued: messages that wait, are delayed or leased.
    """

    outcomes: Mapping[str, TaskState]
    letters: Sequence[tuple[str, str]] = ()
    queued: int = 0


class Finding(Struct, frozen=True):
    """What a verdict says.

    Attributes:
        breaches: promises broken.
        forgiven: calls that an operator destroyed.
        excused: executions beyond the first that were due to a fault.
        forgotten: calls of which a broker that died forgot something, where it may.
    """

    breaches: Sequence[Breach]
    forgiven: int
    excused: int
    forgotten: int = 0

    def counted(self, promise: Broken) -> int:
        """How many calls it was broken for."""
        return len({breach.key for breach in self.breaches if breach.promise is promise})


def judge(entries: Sequence[Entry], left: Left, terms: Terms) -> Finding:
    """Whether what was promised was held."""
    entries = in_order(entries)
    troubles = Troubles(entries)
    letters: defaultdict[str, list[str]] = defaultdict(list)
    for key, reason in left.letters:
        letters[key].append(reason)
    breaches: list[Breach] = []
    missing: list[Breach] = []
    forgiven = excused = forgotten = 0
    lives = _lives(entries)
    for key, life in lives.items():
        case = Case(key, life, left.outcomes.get(key), letters.get(key, []), troubles, terms)
        if case.is_lost():
            if troubles.wiped(life[0].at):
                forgiven += 1
            else:
                missing.append(Breach(Broken.LOST, key, case.told()))
        breaches += case.breaches()
        excused += case.excused
        forgotten += case.forgotten
    breaches += [
        Breach(Broken.GHOST, key, "a dead letter of a call that nobody enqueued")
        for key in letters
        if key not in lives
    ]
    # what waits cannot be told by name: as many as wait are not lost
    return Finding([*missing[left.queued :], *breaches], forgiven, excused, forgotten)


def _lives(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    lives: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.key:
            lives[entry.key].append(entry)
    return lives
