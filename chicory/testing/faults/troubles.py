"""What befell the surroundings of the calls, as the ledger tells it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from chicory.testing.faults.ledger import Entry, Event

KILLED = "killed"
"""Why the broker is away, where it was killed."""


class Span(NamedTuple):
    """A time in which something was so; ``end`` is infinite where it still is."""

    begin: float
    end: float

    def within(self, begin: float, end: float) -> float:
        """The seconds of it between two points in time."""
        return max(0.0, min(self.end, end) - max(self.begin, begin))


class Troubles:
    """Deaths, pauses and outages.

    Attributes:
        deaths: when a process was killed, by its id.
        pauses: when it stood still, by its id; also for want of a processor.
        outages: when workers could not reach the broker.
        kills: when the broker, or a part of it, was killed, until it could be used again.
        wipes: when an operator destroyed what the broker held, from his order to its effect.
        deserts: when the last worker was dead and the next one had not begun yet.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.deaths: dict[int, float] = {}
        self.pauses: defaultdict[int, list[Span]] = defaultdict(list)
        self.outages: list[Span] = []
        self.kills: list[Span] = []
        self.wipes: list[float] = []
        for entry in entries:
            match entry.event:
                case Event.KILLED:
                    self.deaths[entry.pid] = entry.at
                case Event.STOPPED:
                    self.pauses[entry.pid].append(Span(entry.at, inf))
                case Event.RESUMED:
                    _end(self.pauses[entry.pid], entry.at)
                case Event.STALLED:
                    self.pauses[entry.pid].append(Span(entry.at - float(entry.detail), entry.at))
                case Event.AWAY:
                    self.outages.append(Span(entry.at, inf))
                    if entry.detail == KILLED:
                        self.kills.append(Span(entry.at, inf))
                case Event.BACK:
                    _end(self.outages, entry.at)
                    _end(self.kills, entry.at)
                case Event.WIPED:
                    self.wipes.append(entry.at)
                case _:
                    pass
        self.deserts = _between(_lives(entries, self.deaths))

    def died(self, pid: int, by: float) -> bool:
        """Whether a process was dead by then."""
        return self.deaths.get(pid, inf) <= by

    def paused(self, pid: int, begin: float, end: float) -> float:
        """The longest that it stood still in between."""
        return max((span.within(begin, end) for span in self.pauses.get(pid, ())), default=0.0)

    def away(self, begin: float, end: float) -> float:
        """The longest that the broker could not be reached in between."""
        return max((span.within(begin, end) for span in self.outages), default=0.0)

    def deserted(self, begin: float, end: float) -> float:
        """The longest that no worker was there in between."""
        return max((span.within(begin, end) for span in self.deserts), default=0.0)

    def killed(self, begin: float, end: float) -> bool:
        """Whether the broker was killed in between."""
        return any(begin <= span.begin <= end for span in self.kills)

    def may_be_forgotten(self, at: float, seconds: float) -> bool:
        """Whether a broker was killed at most so many seconds after it, or had been just then."""
        return any(span.begin - seconds <= at <= span.end for span in self.kills)

    def interrupted(self, begin: float, end: float) -> int:
        """How often the broker went away in between."""
        return sum(span.begin <= end and span.end >= begin for span in self.outages)

    def wiped(self, begin: float, end: float = inf) -> bool:
        """Whether what was there at first was destroyed until then."""
        place = bisect_left(self.wipes, begin)
        return place < len(self.wipes) and self.wipes[place] <= end


def _lives(entries: Sequence[Entry], deaths: Mapping[int, float]) -> Iterator[tuple[float, float]]:
    """From when to when each worker was there; to its last sign where it was not killed."""
    last = {entry.pid: entry.at for entry in entries}
    for entry in entries:
        if entry.event is Event.READY:
            yield entry.at, deaths.get(entry.pid, last[entry.pid])


def _between(spans: Iterable[tuple[float, float]]) -> list[Span]:
    """The times between two of these that none of them covers."""
    gaps: list[Span] = []
    until = inf
    for begin, end in sorted(spans):
        if begin > until:
            gaps.append(Span(until, begin))
        until = end if until == inf else max(until, end)
    return gaps


def _end(spans: list[Span], at: float) -> None:
    if spans and spans[-1].end == inf:
        spans[-1] = Span(spans[-1].begin, at)
