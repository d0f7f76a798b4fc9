"""The figures of a run, from its ledger. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from chicory.testing.faults.ledger import RELEASE, Entry, Event, in_order
from chicory.testing.faults.troubles import Troubles

LONG = 1.0
"""Seconds without any worker that count for something."""


class Rescue(Struct, frozen=True):
    """What a worker held when it was killed, begun by another one.

    Attributes:
        seconds: from its death until then.
        undisturbed: whether the broker could be reached and some worker was there all that time,
            and nobody died with it in between who could not note that he had it.
        suspect: whether it had been in the hands of so many dead workers that it may run only
            where nothing else does, for which it has to wait.
    """

    seconds: float
    undisturbed: bool
    suspect: bool = False


class Figures(Struct, frozen=True):
    """What a run amounted to.

    Attributes:
        accepted: calls that were enqueued for sure.
        begun: executions, the repeated ones included.
        faults: by name.
        deaths: of worker processes.
        stalls: how often a worker that nobody stopped got no processor.
        longest_stall: seconds.
        rescues: of what the dead had held.
        recoveries: seconds from a broker's return until something was begun or settled.
        seconds: from the first entry to the last one.
    """

    accepted: int
    begun: int
    faults: Mapping[str, int]
    deaths: int
    stalls: int
    longest_stall: float
    rescues: Sequence[Rescue]
    recoveries: Sequence[float]
    seconds: float

    @property
    def calm(self) -> Sequence[float]:
        """Seconds of the rescues that nothing else held up."""
        return [one.seconds for one in self.rescues if one.undisturbed and not one.suspect]

    @property
    def suspects(self) -> Sequence[float]:
        """Seconds of the undisturbed rescues of suspects."""
        return [one.seconds for one in self.rescues if one.undisturbed and one.suspect]

    def rescued_within(self, share: float) -> float:
        """Seconds within which this share of the calm rescues came."""
        return share_of(self.calm, share)


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed; 0 where there is none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def measure(entries: Sequence[Entry], max_crashes: int) -> Figures:
    """The figures of a run in which a message is put aside after so many lost leases."""
    entries = in_order(entries)
    troubles = Troubles(entries)
    stopped = {entry.pid for entry in entries if entry.event is Event.STOPPED}
    stalls = [
        float(entry.detail)
        for entry in entries
        if entry.event is Event.STALLED and entry.pid not in stopped
    ]
    events = Counter(entry.event for entry in entries)
    return Figures(
        accepted=events[Event.ACCEPTED],
        begun=events[Event.STARTED],
        faults=Counter(entry.detail for entry in entries if entry.event is Event.FAULT),
        deaths=len(troubles.deaths),
        stalls=len(stalls),
        longest_stall=max(stalls, default=0.0),
        rescues=_rescues(entries, troubles, max_crashes),
        recoveries=_recoveries(entries, troubles),
        seconds=entries[-1].at - entries[0].at if entries else 0.0,
    )


def _rescues(entries: Sequence[Entry], troubles: Troubles, max_crashes: int) -> Sequence[Rescue]:
    held: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    lives: defaultdict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        place = (entry.key, entry.attempt)
        match entry.event:
            case Event.FETCHED:
                held[place].add(entry.pid)
                lives[place].append(entry)
            case Event.STARTED:
                lives[place].append(entry)
            case Event.SETTLED | Event.FENCED:
                held[place].discard(entry.pid)
            case Event.SETTLING if entry.detail == RELEASE:
                held[place].discard(entry.pid)
            case _:
                pass
    found: list[Rescue] = []
    for place, pids in held.items():
        for death in {troubles.deaths[pid] for pid in pids if pid in troubles.deaths}:
            at = _taken_up(lives[place], death, troubles)
            if at is not None:
                suspect = any(
                    e.event is Event.FETCHED and int(e.detail or 0) >= max_crashes
                    for e in lives[place]
                    if death < e.at <= at
                )
                held_up = (
                    troubles.interrupted(death, at)
                    or troubles.deserted(death, at) >= LONG
                    or _unseen(lives[place], at)
                )
                found.append(Rescue(at - death, not held_up, suspect))
    return found


def _unseen(life: Sequence[Entry], at: float) -> bool:
    """Whether a fetch until then counts a delivery of which no fetch tells."""
    counts = [int(e.detail or 0) for e in life if e.event is Event.FETCHED and e.at <= at]
    return any(after > before + 1 for before, after in pairwise(counts))


def _taken_up(life: Sequence[Entry], death: float, troubles: Troubles) -> float | None:
    """When it was begun elsewhere, or fetched by one that died before it could begin it."""
    later = [entry for entry in life if entry.at > death]
    for place, entry in enumerate(later):
        if entry.event is Event.STARTED:
            return entry.at
        began = any(e.event is Event.STARTED and e.pid == entry.pid for e in later[place:])
        if entry.pid in troubles.deaths and not began:
            return entry.at
    return None


def _recoveries(entries: Sequence[Entry], troubles: Troubles) -> Sequence[float]:
    signs = [entry.at for entry in entries if entry.event in {Event.STARTED, Event.SETTLED}]
    found: list[float] = []
    for span in troubles.outages:
        at = next((at for at in signs if at > span.end), None)
        # where it went away again before that, its next return counts
        if at is not None and not any(span.end < other.begin < at for other in troubles.outages):
            found.append(at - span.end)
    return found
