"""Cancelling calls: those nobody has are removed, the worker of the others is told.

Whether a message that was never given back is leased is known to its consumer only. For the
moment that it takes to look and to remove, that consumer is stopped, so that nothing is delivered
that is being removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from chicory.transport import Cancelled, Record
from chicory_nats import outcomes
from chicory_nats.consumers import Consumers
from chicory_nats.headers import expect, purge
from chicory_nats.locks import Lock
from chicory_nats.messages import in_place_of
from chicory_nats.names import token
from chicory_nats.notes import request
from chicory_nats.session import Session
from chicory_nats.thread import Thread, place_of
from chicory_nats.ticket import fresh
from chicory_nats.wire import Batch, Outgoing, Request

_PURGES = (2, 14)
"""The first server that removes a delayed message with what is stored in its place."""

_Level: TypeAlias = tuple[bytes, int]


class _Order(Struct):
    """A cancellation on its way.

    Attributes:
        record: what is to be stored where the call is removed.
        call: its token.
        operation: identity of this step.
        thread: the call as it was read last.
        request: what is stored now.
        wanted: the answer where that is stored.
        answer: once it is known.
    """

    record: Record
    call: bytes
    operation: bytes
    thread: Thread = Thread()
    request: Request | None = None
    wanted: Cancelled = Cancelled.REMOVED
    answer: Cancelled | None = None

    @property
    def level(self) -> _Level:
        """Where its message is."""
        assert self.thread.message is not None
        place = place_of(self.thread.message)
        return place.queue, place.level


class Canceller:
    """Cancels by batch."""

    def __init__(self, session: Session, consumers: Consumers) -> None:
        self._session = session
        self._consumers = consumers

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls; answers in the order given."""
        orders = [_Order(record, token(record.task_id).encode(), fresh()) for record in records]
        left = orders
        while left:
            for level, some in _by_level(await self._attempt(_first_each(left))).items():
                await self._consumers.ensure(level[0])
                lock = Lock(self._session, level[0])
                async with lock, lock.still(self._consumers, level[1]):
                    await self._attempt(some, level)
            left = [order for order in left if order.answer is None]
        return [order.answer for order in orders if order.answer is not None]

    async def _attempt(
        self, orders: Sequence[_Order], still: _Level | None = None
    ) -> Sequence[_Order]:
        """Do what can be decided; those for which a consumer has to stand still.

        ``still``: where one does.
        """
        delivered = await self._read(orders, still)
        for order in orders:
            order.request = None
            self._decide(order, delivered, still)
        await self._session.delete(one.thread.replaced for one in orders if one.thread.replaced)
        await self._store([order for order in orders if order.request is not None])
        return [order for order in orders if order.request is None and order.answer is None]

    async def _read(self, orders: Sequence[_Order], still: _Level | None) -> Mapping[_Level, int]:
        """Read the threads; how far the consumers of waiting messages have come."""
        known, found = await asyncio.gather(
            self._delivered([still] if still else []),
            self._session.threads.look(order.call for order in orders),
        )
        for order in orders:
            order.thread = found[order.call]
        await self._session.finish(found.values())
        levels = {order.level for order in orders if _is_unmarked(order.thread)}
        return {**known, **await self._delivered(sorted(levels.difference(known)))}

    async def _delivered(self, levels: Sequence[_Level]) -> dict[_Level, int]:
        statuses = await asyncio.gather(*(self._consumers.status(*level) for level in levels))
        return {level: one.delivered for level, one in zip(levels, statuses, strict=True)}

    def _decide(self, order: _Order, delivered: Mapping[_Level, int], still: _Level | None) -> None:
        """Know the answer, or what is to be stored for it, or neither."""
        thread = order.thread
        if thread.written_by(order.operation):
            order.answer = Cancelled.REMOVED
        elif thread.message is None or not thread.live:
            order.answer = Cancelled.ABSENT
        elif thread.scheduled or thread.given_back:
            self._remove(order)
        elif thread.mark is not None or thread.message.seq <= delivered.get(order.level, 0):
            self._ask(order)
        elif order.level == still:
            self._remove(order)

    def _ask(self, order: _Order) -> None:
        """Leave word for the worker, unless it is there already."""
        thread = order.thread
        order.wanted = Cancelled.REQUESTED
        if thread.cancelled:
            order.answer = order.wanted
        else:
            order.request = request(self._session.subjects, order.call, thread.top, thread.call)

    def _remove(self, order: _Order) -> None:
        """Store the record as the outcome of the message, or in its place.

        A message that a consumer delivers is deleted after this, not purged.
        """
        order.wanted = Cancelled.REMOVED
        message, guard = order.thread.message, self._guard(order)
        assert message is not None
        if not order.thread.scheduled:
            order.request = self._record(order, guard, outcomes.LONG)
        elif self._session.connection.version >= _PURGES:
            order.request = self._record(order, guard + purge(message.subject), self._session.keep)
        else:
            record = self._record(order, b"", self._session.keep)
            order.request = Batch(in_place_of(message.subject, guard, [record]))

    def _guard(self, order: _Order) -> bytes:
        return expect(order.thread.top, self._session.subjects.thread(order.call))

    def _record(self, order: _Order, more: bytes, keep: float) -> Outgoing:
        """The record as the outcome of the message."""
        assert order.thread.message is not None
        more += outcomes.said(order.thread.message.seq, order.operation, order.thread.call)
        return outcomes.record(self._session.subjects, order.record, more=more, keep=keep)

    async def _store(self, orders: Sequence[_Order]) -> None:
        requests = [order.request for order in orders if order.request is not None]
        stored = await self._session.insist(requests)
        doomed: list[int] = []
        removed: list[tuple[_Order, int]] = []
        for order, seq in zip(orders, stored, strict=True):
            order.answer = order.wanted if seq else None
            if order.answer is Cancelled.REMOVED:
                removed.append((order, seq))
                doomed += _remains(order, seq)
        await self._session.delete(doomed)
        subjects, keep = self._session.subjects, self._session.keep
        await self._session.shorten(
            self._record(order, expect(seq, subjects.thread(order.call)), keep)
            for order, seq in removed
            if not order.thread.scheduled and outcomes.outlives(order.record)
        )


def _remains(order: _Order, stored: int) -> Iterable[int]:
    """What is left of a call of which ``stored`` is the outcome."""
    thread = order.thread
    if isinstance(order.request, Batch):
        yield stored - 1
    message = None if thread.scheduled else thread.message
    parts = (message, thread.mark, thread.renewal, thread.request)
    yield from (part.seq for part in parts if part is not None)


def _is_unmarked(found: Thread) -> bool:
    """Whether only its consumer knows if a message is leased."""
    return found.message is not None and found.holder == found.message.seq


def _first_each(orders: Iterable[_Order]) -> Sequence[_Order]:
    """The first order for each call: the next one finds what became of it."""
    first: dict[bytes, _Order] = {}
    for order in orders:
        first.setdefault(order.call, order)
    return list(first.values())


def _by_level(orders: Iterable[_Order]) -> Mapping[_Level, Sequence[_Order]]:
    levels: dict[_Level, list[_Order]] = {}
    for order in orders:
        levels.setdefault(order.level, []).append(order)
    return levels
