"""Cancelling calls: those nobody has are removed, the worker of the others is told.

Whether a message that was never given back is leased is known to its consumer only. For the
moment that it takes to look and to remove, the consumers of the queue are stopped, so that none
is delivered that is being removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from chicory.transport import Cancelled, Record
from chicory_nats import composing
from chicory_nats.composing import in_place_of
from chicory_nats.consumers import Consumers
from chicory_nats.headers import expect
from chicory_nats.locks import Lock
from chicory_nats.names import token
from chicory_nats.session import Session
from chicory_nats.subjects import Place
from chicory_nats.thread import Thread, place_of
from chicory_nats.ticket import fresh
from chicory_nats.wire import Batch, Outgoing, Request


class _Order(Struct):
    """A cancellation on its way."""

    record: Record
    call: bytes
    operation: bytes
    answer: Cancelled | None = None


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
            unsure = await self._attempt(_first_each(left), still=None)
            for queue, some in _by_queue(unsure).items():
                await self._consumers.ensure(queue)
                async with Lock(self._session, queue) as lock, lock.still(self._consumers):
                    await self._attempt(some, still=queue)
            left = [order for order in left if order.answer is None]
        return [order.answer for order in orders if order.answer is not None]

    async def _attempt(
        self, orders: Sequence[_Order], still: bytes | None
    ) -> Sequence[tuple[_Order, Place]]:
        """Decide what can be decided; those for which a queue has to stand still, and where.

        ``still``: the queue whose consumers are stopped.
        """
        found = await self._session.look(order.call for order in orders)
        await self._session.finish(found.values())
        delivered = await self._delivered(found.values())
        unsure: list[tuple[_Order, Place]] = []
        requests: list[tuple[_Order, Cancelled, Request]] = []
        for order in orders:
            thread = found[order.call]
            if thread.written_by(order.operation):
                order.answer = Cancelled.REMOVED
            elif thread.message is None or not thread.live:
                order.answer = Cancelled.ABSENT
            elif thread.scheduled or thread.given_back:
                requests.append((order, Cancelled.REMOVED, self._removal(order, thread)))
            elif thread.mark is not None or _was_delivered(thread, delivered):
                self._ask(order, thread, requests)
            elif (place := place_of(thread.message)).queue == still:
                requests.append((order, Cancelled.REMOVED, self._removal(order, thread)))
            else:
                unsure.append((order, place))
        await self._session.delete(one.replaced for one in found.values() if one.replaced)
        stored = await self._session.send([request for *_, request in requests])
        for (order, answer, _), seq in zip(requests, stored, strict=True):
            order.answer = answer if seq else None
        await self._session.delete(
            seq - 1
            for (*_, request), seq in zip(requests, stored, strict=True)
            if seq and isinstance(request, Batch)
        )
        removed = [found[order.call] for order in orders if order.answer is Cancelled.REMOVED]
        await self._session.delete(
            part.seq
            for one in removed
            for part in (one.message, one.mark, one.renewal, one.request)
            if part is not None
        )
        await self._session.shorten(
            self._record(order, found[order.call], seq, self._session.keep)
            for (order, answer, _), seq in zip(requests, stored, strict=True)
            if seq and answer is Cancelled.REMOVED and composing.outlives(order.record)
        )
        return unsure

    def _ask(
        self,
        order: _Order,
        found: Thread,
        requests: list[tuple[_Order, Cancelled, Request]],
    ) -> None:
        """Leave word for the worker, unless it is there already."""
        if found.cancelled:
            order.answer = Cancelled.REQUESTED
            return
        note = composing.request(self._session.subjects, order.call, found.top, found.call)
        requests.append((order, Cancelled.REQUESTED, note))

    def _removal(self, order: _Order, found: Thread) -> Request:
        """Store the record in the place of the message, or as its outcome.

        A message that a consumer delivers is deleted after this, not purged.
        """
        assert found.message is not None
        if not found.scheduled:
            return self._record(order, found, found.top, composing.LONG)
        guard = expect(found.top, self._session.subjects.thread(order.call))
        record = self._record(order, found, None, composing.LONG)
        return Batch(in_place_of(found.message.subject, guard, [record]))

    def _record(self, order: _Order, found: Thread, last: int | None, keep: float) -> Outgoing:
        """The record as the outcome of a message; ``last``: where the thread has to end."""
        subjects = self._session.subjects
        assert found.message is not None
        guard = b"" if last is None else expect(last, subjects.thread(order.call))
        said = composing.said(found.message.seq, order.operation, found.call)
        return composing.record(subjects, order.record, more=guard + said, keep=keep)

    async def _delivered(self, found: Iterable[Thread]) -> Mapping[tuple[bytes, int], int]:
        """How far the consumers of waiting messages have come."""
        places = {
            (place.queue, place.level)
            for thread in found
            if thread.message is not None and thread.holder == thread.message.seq
            for place in [place_of(thread.message)]
        }
        return {level: (await self._consumers.status(*level)).delivered for level in sorted(places)}


def _was_delivered(found: Thread, delivered: Mapping[tuple[bytes, int], int]) -> bool:
    assert found.message is not None
    place = place_of(found.message)
    return found.message.seq <= delivered.get((place.queue, place.level), 0)


def _first_each(orders: Iterable[_Order]) -> Sequence[_Order]:
    """The first order for each call: the next one finds what became of it."""
    first: dict[bytes, _Order] = {}
    for order in orders:
        first.setdefault(order.call, order)
    return list(first.values())


def _by_queue(unsure: Iterable[tuple[_Order, Place]]) -> Mapping[bytes, Sequence[_Order]]:
    queues: dict[bytes, list[_Order]] = {}
    for order, place in unsure:
        queues.setdefault(place.queue, []).append(order)
    return queues
