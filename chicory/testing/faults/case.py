"""One call before the court: which promises were broken for it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from chicory.outcome import DeathReason
from chicory.states import TaskState
from chicory.testing.faults.kinds import ENDS, Kind
from chicory.testing.faults.ledger import DEAD, DONE, RELEASE, RETRY, Entry, Event
from chicory.testing.faults.troubles import Troubles

LATE = 1.0
"""Seconds between the moment in which a broker leases a message and the begin of its call."""


class Broken(StrEnum):
    """The promises that can be broken."""

    LOST = "lost"
    OUTCOMES = "more than one outcome"
    REPEATED = "run again without need"
    RELEASED = "follow-up released twice"
    REASON = "dead letter without a true reason"
    END = "wrong end"
    EFFECT = "outcome without its effect"
    GHOST = "run although never enqueued"
    CANCELLED = "run although cancelled"


class Breach(Struct, frozen=True):
    """One promise broken for one call."""

    promise: Broken
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise.value}: {self.key}: {self.text}"


class Terms(Struct, frozen=True):
    """What was promised.

    Attributes:
        lease: seconds after which what a dead worker held runs elsewhere.
        max_crashes: leases that may run out before a message is put aside.
        forgets_leases: a broker that is killed may forget those it gave in its last moments.
        forgets: seconds before its death of which it may forget what it accepted or settled.
    """

    lease: float
    max_crashes: int
    forgets_leases: bool = False
    forgets: float = 0.0


_FORGETTABLE = frozenset(
    {Broken.OUTCOMES, Broken.REPEATED, Broken.RELEASED, Broken.REASON, Broken.CANCELLED}
)
"""What may be broken where a broker has forgotten something of a call."""


class Case:
    """One call, and the questions about it.

    Attributes:
        excused: executions beyond the first that were due to a fault, once ``breaches`` is over.
        forgotten: whether a broker that died has shown that it forgot something of it.
    """

    def __init__(
        self,
        key: str,
        life: Sequence[Entry],
        outcome: TaskState | None,
        letters: Sequence[str],
        troubles: Troubles,
        terms: Terms,
    ) -> None:
        self.excused = 0
        self.forgotten = False
        self._key = key
        self._outcome = outcome
        self._letters = letters
        self._troubles = troubles
        self._terms = terms
        self._events: defaultdict[Event, list[Entry]] = defaultdict(list)
        for entry in life:
            self._events[entry.event].append(entry)
        about = self._events[Event.ABOUT]
        self._kind = Kind(about[0].detail) if about else None
        self._begin = life[0].at
        self._end = life[-1].at

    def told(self) -> str:
        """What is known of it."""
        seen = ", ".join(
            f"{len(found)} x {event.value}" for event, found in self._events.items() if found
        )
        return f"{self._kind or 'unknown'}; {seen}; stored: {self._outcome or 'nothing'}"

    def is_lost(self) -> bool:
        """Whether it was accepted, or begun, and came to nothing."""
        if self._outcome is not None:
            return False
        known = self._events[Event.ACCEPTED] or self._events[Event.FETCHED]
        if not known or self._is_spent():
            return False
        self.forgotten = self._may_be_forgotten()
        return not self.forgotten

    def _may_be_forgotten(self) -> bool:
        """Whether something of it that the broker answered for may have died with the broker."""
        told = (Event.ACCEPTED, Event.REMOVED, Event.FETCHED, Event.SETTLED)
        return self._terms.forgets > 0 and any(
            self._troubles.may_be_forgotten(entry.at, self._terms.forgets)
            for event in told
            for entry in self._events[event]
        )

    def _is_spent(self) -> bool:
        """Whether it was to run at most once, was acknowledged, and its worker died with it."""
        return self._kind is Kind.ONCE and any(
            e.pid in self._troubles.deaths for e in self._ends(Event.SETTLING)
        )

    def breaches(self) -> Iterator[Breach]:
        """The promises broken, but for that nothing is lost."""
        for promise, text in (
            *self._existence(),
            *self._outcomes(),
            *self._releases(),
            *self._repeats(),
            *self._reasons(),
            *self._effects(),
        ):
            if promise in _FORGETTABLE and self._may_be_forgotten():
                self.forgotten = True
            else:
                yield Breach(promise, self._key, f"{text} ({self.told()})")

    def _ends(self, event: Event) -> list[Entry]:
        return [e for e in self._events[event] if e.detail.partition(":")[0] in {DONE, DEAD}]

    def _existence(self) -> Iterator[tuple[Broken, str]]:
        begun = self._events[Event.FETCHED]
        if begun and self._kind is None:
            yield Broken.GHOST, "nobody enqueued it"
        elif begun and self._events[Event.REFUSED]:
            yield Broken.GHOST, "it had been refused"
        removed = self._events[Event.REMOVED]
        if removed and any(e.at > removed[0].at for e in begun):
            yield Broken.CANCELLED, "it was fetched after it had been removed"

    def _outcomes(self) -> Iterator[tuple[Broken, str]]:
        settled = self._ends(Event.SETTLED)
        if len(settled) > 1:
            ways = " and ".join(f"{e.detail} by {e.pid}" for e in settled)
            yield Broken.OUTCOMES, f"settled as {ways}"
        if len(self._letters) > 1:
            yield Broken.OUTCOMES, f"{len(self._letters)} dead letters"
        if self._letters and self._outcome not in {TaskState.DEAD_LETTERED, None}:
            yield Broken.OUTCOMES, f"stored as {self._outcome} and dead-lettered"
        if self._outcome is None:
            return
        told = {_state(e.detail) for e in settled or self._ends(Event.SETTLING)}
        if self._kind in {Kind.CANCELLED, None}:
            told |= {TaskState.CANCELLED}
        if self._outcome not in told:
            yield Broken.OUTCOMES, f"stored as {self._outcome}, which nobody settled"
        crashed = self._outcome is TaskState.DEAD_LETTERED and DeathReason.CRASHED in self._letters
        if self._kind and self._outcome not in ENDS[self._kind] and not crashed:
            yield Broken.END, f"{self._kind} ended as {self._outcome}"

    def _releases(self) -> Iterator[tuple[Broken, str]]:
        retried = Counter(e.attempt for e in self._events[Event.SETTLED] if e.detail == RETRY)
        for attempt, count in retried.items():
            if count > 1:
                yield Broken.RELEASED, f"attempt {attempt} was followed {count} times"
        asked = {e.attempt for e in self._events[Event.SETTLING] if e.detail == RETRY}
        for attempt in {e.attempt for e in self._events[Event.STARTED]}:
            if attempt and attempt - 1 not in asked:
                yield Broken.RELEASED, f"attempt {attempt} was begun, and nobody asked for it"

    def _repeats(self) -> Iterator[tuple[Broken, str]]:
        if self._troubles.wiped(self._begin, self._end):
            return  # the operator's, too
        by_attempt: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in self._events[Event.STARTED]:
            by_attempt[entry.attempt].append(entry)
        # at most once: what was acknowledged is begun after that
        over = {
            e.attempt: e.at
            for e in reversed(self._events[Event.SETTLED])
            if e.detail != RELEASE and self._kind is not Kind.ONCE
        }
        for attempt, starts in by_attempt.items():
            late = [
                e
                for e in starts
                if e.at > over.get(attempt, e.at) and not self._disturbed(e.at, e.at, {e.pid})
            ]
            if late:
                why = f"attempt {attempt} was begun by {late[0].pid} after it had been settled"
                yield Broken.REPEATED, why
            if self._kind is Kind.ONCE and len(starts) > 1:
                yield Broken.REPEATED, f"attempt {attempt} was begun {len(starts)} times"
            for one, next_ in pairwise(starts):
                if self._needed(one, next_):
                    self.excused += 1
                else:
                    later = f"and by {next_.pid} {next_.at - one.at:.3f} s later"
                    yield Broken.REPEATED, f"attempt {attempt} was begun by {one.pid}, {later}"

    def _needed(self, one: Entry, next_: Entry) -> bool:
        """Whether it was right to begin it again."""
        return (
            self._troubles.died(one.pid, next_.at)
            or self._disturbed(one.at, next_.at, {one.pid, next_.pid})
            or (self._terms.forgets_leases and self._troubles.killed(one.at - LATE, next_.at))
            or any(
                e.detail == RELEASE and e.pid == one.pid and one.at <= e.at <= next_.at
                for e in self._events[Event.SETTLING]
            )
        )

    def _disturbed(self, begin: float, end: float, pids: set[int]) -> bool:
        """Whether a lease may have run out, or have done so before its worker heard of it."""
        lease = self._terms.lease
        # a renewal comes every quarter, and may have to be repeated; what was leased before all
        # stood still is fetched and begun after that
        enough, begin = lease / 2, begin - 2 * lease
        return self._troubles.away(begin, end) >= enough or any(
            self._troubles.paused(pid, begin, end) >= enough for pid in pids
        )

    def _reasons(self) -> Iterator[tuple[Broken, str]]:
        for reason in self._letters:
            if reason == DeathReason.FAILED:
                if self._kind not in {Kind.FAILING, Kind.GREEDY}:
                    yield Broken.REASON, f"{self._kind} does not fail"
            elif reason == DeathReason.CRASHED:
                if self._lost_leases() < self._terms.max_crashes:
                    yield Broken.REASON, f"only {self._lost_leases()} leases were lost"
            else:
                yield Broken.REASON, f"{reason} is true of no call of a run"

    def _lost_leases(self) -> int:
        """Leases that may have run out: those of the dead, and answers lost on their way."""
        ended = max((e.at for e in self._ends(Event.SETTLED)), default=self._end)
        held = self._events[Event.FETCHED]
        gone = sum(
            self._troubles.died(e.pid, ended) or self._disturbed(e.at, ended, {e.pid}) for e in held
        )
        return gone + self._troubles.interrupted(self._begin, ended)

    def _effects(self) -> Iterator[tuple[Broken, str]]:
        if self._outcome is TaskState.SUCCESS and not self._events[Event.EFFECT]:
            yield Broken.EFFECT, "it succeeded"


def _state(detail: str) -> TaskState:
    return TaskState.DEAD_LETTERED if detail.startswith(DEAD) else TaskState.SUCCESS
