"""Making leases of what JetStream delivered, or giving it back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from chicory.transport import Release
from chicory_nats.acks import ACK, Acks, later
from chicory_nats.boot import Boot
from chicory_nats.guard import Verdict, judge
from chicory_nats.headers import (
    CALL,
    CANCELLED,
    DELIVERIES,
    FIRST,
    GONE,
    REPLACES,
    call_of_first,
    parse_own,
    task_id_of,
)
from chicory_nats.notes import mark
from chicory_nats.pull import Raw
from chicory_nats.session import Session
from chicory_nats.settling import Settler
from chicory_nats.subjects import Place
from chicory_nats.thread import Thread
from chicory_nats.ticket import Ticket, fresh

Held: TypeAlias = tuple[Raw, Ticket]


class Claims:
    """Decides by batch which deliveries are leases."""

    def __init__(self, session: Session, boot: Boot, acks: Acks, settler: Settler) -> None:
        self._session = session
        self._boot = boot
        self._acks = acks
        self._settler = settler

    async def accept(self, came: Sequence[Raw], room: float) -> list[Held]:
        """Make leases of what came, and give back what is too much."""
        if not came:
            return []
        held, suspects = _sorted(came, await self._boot.since())
        if suspects:
            held += await self._investigate(suspects)
        held.sort(key=_turn)
        if len(held) > room:
            surplus = held[int(room) :]
            del held[int(room) :]
            await self.give_back(ticket for _, ticket in surplus)
        return held

    def accept_certain(self, came: Sequence[Raw], room: int) -> list[Held] | None:
        """The same without a wait; ``None`` where that cannot be."""
        since = self._boot.known
        if since is None or len(came) > room:
            return None
        held, suspects = _sorted(came, since)
        return None if suspects else sorted(held, key=_turn)

    async def give_back(self, tickets: Iterable[Ticket]) -> None:
        """Have leases go to somebody else."""
        releases = [Release(ticket) for ticket in tickets]
        if releases:
            await self._settler.settle(releases)

    async def refuse(self, came: Sequence[Raw]) -> None:
        """Give back all that came."""
        await self.give_back(ticket for _, ticket in await self.accept(came, math.inf))

    async def _investigate(self, suspects: Sequence[Held]) -> list[Held]:
        """Claim what was delivered before and nobody holds.

        What the server believes to deliver for the first time mostly is delivered for the first
        time: its claim holds only if nothing is known of it.
        """
        ends = {ticket: raw.seq for raw, ticket in suspects}
        unlikely = [pair for pair in suspects if pair[0].delivered == 1]
        claimed, changed = await self._claim(unlikely, ends)
        left = [*changed, *(pair for pair in suspects if pair[0].delivered > 1)]
        while left:
            came = {ticket.place.call: raw.seq for raw, ticket in left}
            found = await self._session.threads.look_after(came)
            free = await self._sort_out(left, found)
            ends = {ticket: found[ticket.place.call].top for _, ticket in free}
            taken, left = await self._claim(free, ends)
            claimed += taken
        return claimed

    async def _sort_out(self, suspects: Sequence[Held], found: dict[bytes, Thread]) -> list[Held]:
        """Those that may be had; the others are dealt with."""
        free: list[Held] = []
        words: list[tuple[bytes, bytes]] = []
        now, lease = self._session.clock.now(), self._session.lease
        for raw, ticket in suspects:
            thread = found[ticket.place.call]
            match judge(raw, thread, now, lease):
                case Verdict.TAKE:
                    ticket.cancelled = thread.cancelled
                    ticket.note(thread)
                    ticket.deliveries = thread.deliveries(raw.delivered)
                    free.append((raw, ticket))
                case Verdict.LEASED:
                    words.append((raw.ack, later(thread.held_until(lease) - now)))
                case Verdict.OVER:
                    words.append((raw.ack, ACK))
        await self._acks.send(words)
        return free

    async def _claim(
        self, free: Sequence[Held], ends: Mapping[Ticket, int]
    ) -> tuple[list[Held], list[Held]]:
        """Mark messages as leased: those that are now, and those of which more is known.

        ``ends``: where their threads have to end.
        """
        if not free:
            return [], []
        marks = [
            mark(
                self._session.subjects,
                ticket,
                ends[ticket],
                holds=True,
                deliveries=ticket.deliveries,
                operation=fresh(),
            )
            for _, ticket in free
        ]
        taken: list[Held] = []
        changed: list[Held] = []
        for pair, seq in zip(free, await self._session.insist(marks), strict=True):
            if seq:
                pair[1].basis = seq
            (taken if seq else changed).append(pair)
        return taken, changed


def _sorted(came: Sequence[Raw], since: int) -> tuple[list[Held], list[Held]]:
    """What is delivered for the first time, and what may not be."""
    held: list[Held] = []
    suspects: list[Held] = []
    for raw in came:
        call = call_of_first(raw.headers)
        if call is None:
            block = parse_own(raw.headers)
            if GONE in block:
                continue
            pair = raw, _ticket(raw, block)
        else:
            pair = raw, _first_ticket(raw, call)
        (suspects if raw.delivered > 1 or raw.seq <= since else held).append(pair)
    return held, suspects


def _turn(held: Held) -> tuple[int, int]:
    raw, _ = held
    return raw.level.rank, raw.seq


def _first_ticket(raw: Raw, call: bytes) -> Ticket:
    """The ticket for a message that is the first one of its call, as nearly all are."""
    place = Place(raw.level.queue, raw.level.level, raw.subject.rpartition(b".")[2])
    task_id = task_id_of(place.call, _NOTHING)
    ticket = Ticket(task_id, place, raw.subject, raw.seq, raw.ack, call, raw.body)
    ticket.first = True
    ticket.deliveries = raw.delivered
    return ticket


def _ticket(raw: Raw, block: Mapping[bytes, bytes]) -> Ticket:
    place = Place(raw.level.queue, raw.level.level, raw.subject.rpartition(b".")[2])
    task_id, call = task_id_of(place.call, block), block.get(CALL, b"")
    ticket = Ticket(task_id, place, raw.subject, raw.seq, raw.ack, call, raw.body)
    ticket.first = FIRST in block
    ticket.replaces = int(block.get(REPLACES, b"0"))
    ticket.deliveries = int(block.get(DELIVERIES, b"0")) + raw.delivered
    ticket.cancelled = CANCELLED in block
    return ticket


_NOTHING: Mapping[bytes, bytes] = {}
