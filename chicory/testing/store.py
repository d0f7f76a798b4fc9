"""The state of one broker in memory, and its atomic steps."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from itertools import count

from msgspec.structs import replace

from chicory.signal import Signal
from chicory.testing.agenda import Agenda
from chicory.testing.heartbeats import Heartbeats
from chicory.testing.holds import Holds
from chicory.testing.leases import Leases
from chicory.testing.letters import Letters
from chicory.testing.line import HeldLease, Line, Message, Place
from chicory.testing.records import Records
from chicory.transport import (
    Accepted,
    Cancelled,
    Counts,
    Dead,
    Delivery,
    Done,
    Duplicate,
    Lease,
    Publication,
    PublishOutcome,
    Receipt,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
    Stage,
    Standing,
)

_ACCEPTED = Accepted()


class Store:
    """Messages, records, dead letters and workers of one namespace.

    Every method with ``now`` is one step, and must be called with ``lock`` held.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.records = Records()
        self.letters = Letters()
        self.heartbeats = Heartbeats()
        self._live: dict[str, Message] = {}
        self._lines: dict[str, Line] = {}
        self._agenda = Agenda()
        self._leases = Leases()
        self._holds = Holds()
        self._woken: dict[Signal, None] = {}
        self._next = count(1).__next__

    def publish(self, publication: Publication, now: float) -> PublishOutcome:
        """Make a message live, unless its id or unique key is taken."""
        task_id, unique = publication.task_id, publication.unique
        if task_id in self._live:
            return Duplicate(task_id)
        if unique is not None:
            holder = self._holds.holder(unique.key, now)
            if holder is not None:
                return Duplicate(holder)
            self._holds.take(unique.key, task_id, now + unique.ttl)
        self._enter(publication, unique.key if unique else None, now)
        return _ACCEPTED

    def take(
        self, queues: Sequence[str], limit: int, lease: float, now: float, waiter: Signal
    ) -> list[Delivery]:
        """Lease what is first; where there is nothing, have ``waiter`` notified of more."""
        self._promote(now)
        taken: list[Delivery] = []
        for name in queues:
            line = self.line(name)
            if line.paused:
                continue
            for level in line.levels:
                while len(taken) < limit and level:
                    message = level.pop()
                    message.deliveries += 1
                    held = HeldLease(message, lease, now + lease)
                    self._leases.give(held)
                    taken.append(held.delivery())
        if not taken:
            for name in queues:
                self.line(name).hungry[waiter] = None
        return taken

    def next_change(self) -> float:
        """When time alone will make a message ready."""
        return min(self._agenda.next_due(), self._leases.next_end())

    def renew(self, receipt: Receipt, now: float) -> Lease:
        """Extend one lease."""
        held = self._valid(receipt)
        if held is None:
            return Lease.LOST
        message = held.message
        held.expires = now + held.seconds
        if message.place is Place.LEASED:
            self._leases.extend(held)
        else:
            self._unplace(message)
            self._leases.give(held)
        return Lease.CANCEL_REQUESTED if message.cancelled else Lease.HELD

    def settle(self, settlement: Settlement, now: float) -> Settled:
        """Do all that a settlement says, or nothing."""
        held = self._valid(settlement.receipt)
        if held is None:
            return Settled.FENCED
        message = held.message
        if isinstance(settlement, Release):
            self._give_back(message, settlement.not_before, now)
            return Settled.SETTLED
        if isinstance(settlement, Retry):
            self._remove(message)
            publication = settlement.publication
            if message.cancelled:
                publication = replace(publication, not_before=0)
            again = self._enter(publication, message.key, now)
            again.cancelled = message.cancelled
        else:
            self._finish(message)
            if isinstance(settlement, Dead):
                self.letters.add(settlement.letter)
        self._append(settlement, now)
        return Settled.SETTLED

    def cancel(self, record: Record, now: float) -> Cancelled:
        """Remove a message that nobody has, or ask its worker to stop."""
        self._promote(now)
        message = self._live.get(record.task_id)
        if message is None:
            return Cancelled.ABSENT
        if message.place is Place.LEASED:
            message.cancelled = True
            return Cancelled.REQUESTED
        self._finish(message)
        self.records.put(record, now)
        return Cancelled.REMOVED

    def look_up(self, task_id: str, now: float) -> Standing:
        """Say where a call stands."""
        self._promote(now)
        body = self.records.get(task_id, now)
        message = self._live.get(task_id)
        if message is not None and message.place is Place.LEASED:
            return Standing(Stage.RUNNING, body)
        return Standing(Stage.WAITING if body is None else Stage.RECORDED, body)

    def replay(self, letter_id: str, publication: Publication, now: float) -> bool:
        """Exchange a dead letter for a message."""
        if self.letters.get(letter_id) is None:
            return False
        if isinstance(self.publish(publication, now), Duplicate):
            return False  # the letter stays: nothing is lost
        self.letters.pop(letter_id)
        return True

    def purge(self, queue: str, now: float) -> int:
        """Delete what is ready or delayed."""
        self._promote(now)
        line = self.line(queue)
        gone = [message for message in self._agenda if message.line is line]
        for level in line.levels:
            gone += level.all()
        for message in gone:
            self._finish(message)
        return len(gone)

    def queues(self) -> list[str]:
        """Every queue that holds something or is paused."""
        lines = self._lines.values()
        busy = {
            line.name for line in lines if line.paused or line.ready + line.delayed + line.leased
        }
        return sorted(busy | self.letters.queues())

    def counts(self, queue: str, now: float) -> Counts:
        """Count one queue."""
        self._promote(now)
        line, dead = self.line(queue), self.letters.count(queue)
        return Counts(line.ready, line.delayed, line.leased, dead, line.paused)

    def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume."""
        line = self.line(queue)
        line.paused = paused
        self._rouse(line)

    def pop_woken(self) -> Collection[Signal]:
        """Who is to be notified, once the lock is released, of what was done."""
        if not self._woken:
            return ()
        woken, self._woken = self._woken, {}
        return woken

    def line(self, name: str) -> Line:
        """A queue, which comes into being by being named."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(name)
        return line

    def _valid(self, receipt: Receipt) -> HeldLease | None:
        if not isinstance(receipt, HeldLease):
            return None
        message = receipt.message
        if message.held is not receipt or self._live.get(message.task_id) is not message:
            return None
        return receipt

    def _enter(self, publication: Publication, key: str | None, now: float) -> Message:
        message = Message(
            self.line(publication.queue),
            publication.task_id,
            publication.body,
            publication.priority,
            key,
            self._next(),
        )
        self._live[message.task_id] = message
        self._place(message, publication.not_before, now)
        return message

    def _place(self, message: Message, not_before: float, now: float) -> None:
        if message.line.hungry:
            self._rouse(message.line)
        if not_before > now:
            message.due = not_before
            self._agenda.add(message)
            return
        message.place = Place.READY
        message.line.levels[-1 - message.priority].add(message)

    def _unplace(self, message: Message) -> None:
        place, held = message.place, message.held
        if place is Place.LEASED and held is not None:
            self._leases.remove(held)
        elif place is Place.READY:
            message.line.levels[-1 - message.priority].remove(message)
        else:
            self._agenda.remove(message)

    def _promote(self, now: float) -> None:
        for message in self._agenda.pop_due(now):
            self._place(message, 0, now)
        for message in self._leases.pop_ended(now):
            self._make_ready(message)

    def _rouse(self, line: Line) -> None:
        self._woken |= line.hungry
        line.hungry.clear()

    def _put_back(self, message: Message) -> None:
        self._unplace(message)
        self._make_ready(message)

    def _make_ready(self, message: Message) -> None:
        self._rouse(message.line)
        message.place = Place.READY
        message.line.levels[-1 - message.priority].add(message)

    def _give_back(self, message: Message, not_before: float, now: float) -> None:
        message.deliveries -= 1
        if not_before > now and not message.cancelled:
            self._unplace(message)
            self._place(message, not_before, now)
        else:
            self._put_back(message)
        message.held = None

    def _remove(self, message: Message) -> None:
        self._unplace(message)
        message.held = None
        del self._live[message.task_id]

    def _finish(self, message: Message) -> None:
        self._remove(message)
        if message.key is not None:
            self._holds.release(message.key, message.task_id)

    def _append(self, settlement: Done | Retry | Dead, now: float) -> None:
        for publication in settlement.follow_ups:
            self.publish(publication, now)
        if settlement.record is not None:
            self.records.put(settlement.record, now)
