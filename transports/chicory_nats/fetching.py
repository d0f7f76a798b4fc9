"""Leasing messages: level by level, and waiting for the first one without asking again.

A level that was empty last time is asked together with the next one, for the price of one round
trip. Where it was not empty after all, more comes than was wanted; what is too much, and lowest,
is given back.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from chicory.errors import ChicoryError
from chicory.transport import Delivery, Priority, Release
from chicory_nats.acks import ACK, Acks, later
from chicory_nats.boot import Boot
from chicory_nats.composing import mark, task_id_of
from chicory_nats.consumers import Consumers, name_of, queue_token
from chicory_nats.guard import Verdict, judge
from chicory_nats.headers import CALL, DELIVERIES, GONE, parse_own
from chicory_nats.pulls import Lanes, Level, Pulls, Raw
from chicory_nats.session import Session
from chicory_nats.settling import Settler
from chicory_nats.subjects import Place, levels
from chicory_nats.thread import Thread
from chicory_nats.ticket import Ticket, fresh
from chicory_nats.whole import ended

_STANDING = 60.0
"""Seconds after which a request that waits is made anew."""
_PAUSE = 0.1
_MOMENT = 0.002
_REFUSALS = 5
_PRIORITIES = tuple(sorted(Priority))

Held = tuple[Raw, Ticket]


class Fetcher:
    """Fetches for any number of callers at once."""

    def __init__(
        self, session: Session, consumers: Consumers, boot: Boot, acks: Acks, settler: Settler
    ) -> None:
        self._session = session
        self._consumers = consumers
        self._boot = boot
        self._acks = acks
        self._settler = settler
        self._lanes = Lanes(session)
        self._left: dict[str, int] = {}
        self._under_way: set[Pulls] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        session.connection.on_down(self._wake)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease up to ``limit`` messages, or wait for the first one."""
        end = time.monotonic() + wait
        ranked = await self._levels(queues)
        while True:
            found = await self._all_or_none(self._sweep(ranked, limit))
            left = end - time.monotonic()
            if not found and left > 0:
                found = await self._stand(ranked, limit, min(left, _STANDING))
            if found or time.monotonic() >= end:
                names = list(dict.fromkeys(queues))
                return [_delivery(raw, ticket, names) for raw, ticket in found]

    async def close(self) -> None:
        """Wait for what goes on in the background; the connection is closed already."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STANDING)

    async def _levels(self, queues: Sequence[str]) -> Sequence[Level]:
        names = [queue_token(queue) for queue in dict.fromkeys(queues)]
        await asyncio.gather(*(self._consumers.ensure(name) for name in names))
        pairs = [(name, level) for name in names for level in levels()]
        return [Level(n, name, lv, name_of(name, lv)) for n, (name, lv) in enumerate(pairs)]

    async def _all_or_none(self, sweep: Coroutine[Any, Any, list[Held]]) -> list[Held]:
        """Do what claims messages to its end; where the caller is cancelled give them back."""
        task = asyncio.get_running_loop().create_task(sweep)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await ended(task)
            if not task.cancelled() and task.exception() is None:
                tickets = [ticket for _, ticket in task.result()]
                await ended(self._spawn(self._give_back(tickets)))
            raise

    async def _give_back(self, tickets: Iterable[Ticket]) -> None:
        releases = [Release(ticket) for ticket in tickets]
        if releases:
            await self._settler.settle(releases)

    async def _sweep(self, ranked: Sequence[Level], limit: int) -> list[Held]:
        """Lease what is there, the first levels first."""
        found: list[Held] = []
        rest = list(ranked)
        refusals = 0
        while rest and len(found) < limit:
            await self._boot.since()
            room = limit - len(found)
            asked = self._worth_asking(rest, room)
            pulls = Pulls(self._session, self._lanes, asked, room)
            self._under_way.add(pulls)
            await pulls.ask()
            self._under_way.discard(pulls)
            await pulls.end()
            self._note(pulls)
            found += await self._accept(pulls.came, room)
            if not pulls.over:
                break  # the connection was lost, or a consumer is gone: begin anew
            if refusals < _REFUSALS and any(pull.refused for pull in pulls.pulls):
                await asyncio.sleep(_MOMENT * 2**refusals)
                refusals += 1
                continue
            rest = rest[len(asked) :]
        return found

    def _worth_asking(self, rest: Sequence[Level], room: int) -> Sequence[Level]:
        """The first levels up to those that will have enough."""
        expected = 0
        for number, level in enumerate(rest, 1):
            expected += self._left.get(level.consumer, room)
            if expected >= room:
                return rest[:number]
        return rest

    async def _stand(self, ranked: Sequence[Level], limit: int, wait: float) -> list[Held]:
        """Wait until something is there, and lease it.

        One message of each level, for what the server sends after the request was withdrawn is
        a delivery that nobody had.
        """
        pulls = Pulls(self._session, self._lanes, ranked, 1)
        self._under_way.add(pulls)
        try:
            await pulls.stand(wait)
            if not pulls.came:
                await pulls.end()
        except asyncio.CancelledError:
            await ended(self._spawn(self._withdraw(pulls, [])))
            raise
        finally:
            self._under_way.discard(pulls)
        came = pulls.came
        self._spawn(self._withdraw(pulls, came))
        found = await self._all_or_none(self._accept(came, limit))
        if not found and any(pull.failed for pull in pulls.pulls):
            self._consumers.forget()
            await asyncio.sleep(_PAUSE)
            await asyncio.gather(*(self._consumers.ensure(level.queue) for level in ranked))
        return found

    async def _withdraw(self, pulls: Pulls, taken: Sequence[Raw]) -> None:
        """End pulls, and give back what came in the end and nobody took."""
        with suppress(ChicoryError):  # without a connection leases run out by themselves
            await pulls.end()
            await self._refuse([raw for raw in pulls.came if raw not in taken])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _refuse(self, came: Sequence[Raw]) -> None:
        await self._give_back(ticket for _, ticket in await self._accept(came, math.inf))

    def _wake(self) -> None:
        for pulls in list(self._under_way):
            pulls.wake()

    def _note(self, pulls: Pulls) -> None:
        for pull in pulls.pulls:
            if pull.over:
                self._left[pull.level.consumer] = pull.left

    async def _accept(self, came: Sequence[Raw], room: float) -> list[Held]:
        """Make leases of what came, and give back what is too much."""
        if not came:
            return []
        since = await self._boot.since()
        held: list[Held] = []
        suspects: list[Held] = []
        for raw in came:
            block = parse_own(raw.headers)
            if GONE in block:
                continue
            pair = raw, _ticket(raw, block)
            (suspects if raw.delivered > 1 or raw.seq <= since else held).append(pair)
        if suspects:
            held += await self._investigate(suspects)
        held.sort(key=lambda pair: (pair[0].level.rank, pair[0].seq))
        if len(held) > room:
            surplus = held[int(room) :]
            del held[int(room) :]
            await self._give_back(ticket for _, ticket in surplus)
        return held

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
            found = await self._session.look(ticket.place.call for _, ticket in left)
            free = await self._sort_out(left, found)
            ends = {ticket: found[ticket.place.call].top for _, ticket in free}
            taken, left = await self._claim(free, ends)
            claimed += taken
        return claimed

    async def _sort_out(self, suspects: Sequence[Held], found: dict[bytes, Thread]) -> list[Held]:
        """Those that may be had; the others are dealt with."""
        free: list[Held] = []
        words: list[tuple[bytes, bytes]] = []
        now = time.time()
        for raw, ticket in suspects:
            thread = found[ticket.place.call]
            match judge(raw, thread, now):
                case Verdict.TAKE:
                    ticket.cancelled = thread.cancelled
                    ticket.deliveries = thread.deliveries(raw.delivered)
                    free.append((raw, ticket))
                case Verdict.LEASED:
                    words.append((raw.ack, later(thread.held_until - now)))
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
        until = time.time() + self._session.lease
        marks = [
            mark(
                self._session.subjects,
                ticket,
                ends[ticket],
                until=until,
                deliveries=ticket.deliveries,
                operation=fresh(),
            )
            for _, ticket in free
        ]
        taken: list[Held] = []
        changed: list[Held] = []
        for pair, seq in zip(free, await self._session.send(marks), strict=True):
            if seq:
                pair[1].basis = seq
            (taken if seq else changed).append(pair)
        return taken, changed


def _delivery(raw: Raw, ticket: Ticket, queues: Sequence[str]) -> Delivery:
    return Delivery(
        queues[raw.level.rank // len(_PRIORITIES)],
        ticket.task_id,
        raw.body,
        _PRIORITIES[raw.level.level],
        ticket.deliveries,
        ticket,
    )


def _ticket(raw: Raw, block: dict[bytes, bytes]) -> Ticket:
    place = Place(raw.level.queue, raw.level.level, raw.subject.rpartition(b".")[2])
    ticket = Ticket(
        task_id_of(place.call, block),
        place,
        raw.subject,
        raw.seq,
        raw.ack,
        block.get(CALL, b""),
        raw.body,
    )
    ticket.deliveries = int(block.get(DELIVERIES, b"0")) + raw.delivered
    return ticket
