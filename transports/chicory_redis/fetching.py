"""Fetching: leasing messages, and waiting for some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from anyio import CancelScope
from redis.exceptions import RedisError

from chicory.errors import ChicoryError
from chicory.transport import Delivery, Lease, Priority, Receipt, Release
from chicory_redis import keys, settling
from chicory_redis.listener import Listener
from chicory_redis.operations import Operations
from chicory_redis.receipts import Ticket
from chicory_redis.resending import Resending
from chicory_redis.server import Server
from chicory_redis.translation import Lost
from chicory_redis.waiting import Waiter, Waiting

_MOST_RENEWED = 128
_PRIORITIES = {int(priority): priority for priority in Priority}
_LEASES = (Lease.LOST, Lease.HELD, Lease.CANCEL_REQUESTED)

logger = logging.getLogger("chicory.redis")


class Fetching:
    """The leases of one client, in whose name they are held.

    Args:
        server: where the queues are.
        listener: by which a waiting fetch is woken.
        waiting: those who wait.
        operations: runs what must not be left half-way.
        lease: milliseconds.
    """

    def __init__(
        self,
        server: Server,
        listener: Listener,
        waiting: Waiting,
        operations: Operations,
        lease: int,
    ) -> None:
        self._server = server
        self._listener = listener
        self._waiting = waiting
        self._operations = operations
        self._lease = lease
        self._consumer = f"{lease}-{server.client}"
        self._look_every = lease / 2000
        self._held: dict[tuple[str, int, bytes], None] = {}
        self._asked: set[str] = set()
        self._unanswered: set[str] = set()
        self._reclaiming = asyncio.Lock()

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> list[Delivery]:
        """Lease messages; where there are none, wait for some.

        Who is cancelled meanwhile gives back what the server had leased to him by then.
        """
        if limit < 1 or not queues:
            return []
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        if wait <= 0 or not self._listener.is_up:
            _, deliveries = await self._take(queues, limit, None)
            if deliveries or wait <= 0:
                return deliveries
        waiter = self._waiting.enter()  # one look both takes what is there and waits for more
        try:
            while True:
                await self._be_heard()
                waiter.reset()
                change, deliveries = await self._take(queues, limit, waiter)
                left = until - loop.time()
                if deliveries or left <= 0:
                    return deliveries
                pause = min(left, self._look_every)
                await waiter.wait(pause if change < 0 else min(pause, change / 1000))
        finally:
            self._waiting.leave(waiter, queues)

    def settled(self, receipts: Iterable[Receipt]) -> None:
        """These leases are over."""
        for ticket in receipts:
            if isinstance(ticket, Ticket):
                self._held.pop((ticket.queue, ticket.priority, ticket.entry), None)

    async def renew(self, receipts: Sequence[Receipt]) -> list[Lease]:
        """Extend leases."""
        answers: list[Lease] = []
        for start in range(0, len(receipts), _MOST_RENEWED):
            arguments: list[Any] = []
            for ticket in receipts[start : start + _MOST_RENEWED]:
                assert isinstance(ticket, Ticket)
                arguments += (ticket.queue, ticket.priority, ticket.entry, ticket.consumer)
                arguments += (ticket.counter, ticket.task_id)
            answers += [_LEASES[held] for held in await self._server.run("renew", *arguments)]
        return answers

    async def part(self) -> None:
        """Leave no trace on the server but the leases."""
        if self._asked:
            await self._server.attempt("part", self._consumer, *self._asked)

    async def _be_heard(self) -> None:
        if not self._listener.is_up:
            resending = Resending(self._server.address)
            while True:
                try:
                    await self._listener.ready()
                except Lost as error:
                    await resending.after(error)
                else:
                    return

    async def _take(
        self, queues: Sequence[str], limit: int, waiter: Waiter | None
    ) -> tuple[int, list[Delivery]]:
        asking = self._operations.begin(self._ask(queues, limit, waiter))
        try:
            await asking.outlast()
        except asyncio.CancelledError:
            if not asking.has_failed:
                await self._give_back(asking.result()[1])
            raise
        return asking.result()

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        releases = [Release(delivery.receipt) for delivery in deliveries]
        giving = self._operations.begin(settling.settle(self._server, releases))
        with CancelScope(shield=True):  # he is cancelled already
            await giving.outlast()
        try:
            giving.result()
        except ChicoryError as error:  # their leases run out
            logger.warning("%d messages could not be given back: %s", len(releases), error)
        else:
            self.settled([delivery.receipt for delivery in deliveries])

    async def _ask(
        self, queues: Sequence[str], limit: int, waiter: Waiter | None
    ) -> tuple[int, list[Delivery]]:
        token = waiter.token if waiter is not None else ""
        registered = int(waiter is not None and waiter.is_registered)
        arguments = (self._consumer, self._lease, limit, token, registered, *queues)
        self._asked.update(queues)
        resending = Resending(self._server.address)
        while True:
            try:
                await self._reclaim()
                answer = await self._server.attempt("fetch", *arguments)
                break
            except Lost as error:
                self._unanswered.update(queues)
                await resending.after(error)
            except RedisError as error:
                await resending.after(error)
        if waiter is not None:
            waiter.is_registered = len(answer) == 1
        return answer[0], self._decode(queues, answer)

    async def _reclaim(self) -> None:
        """Give back what was leased to us by answers that were lost."""
        async with self._reclaiming:
            if not self._unanswered:
                return
            queues = tuple(self._unanswered)
            known = [keys.place(p, entry, queue) for queue, p, entry in self._held]
            found = await self._server.attempt(
                "reclaim", self._consumer, len(queues), *queues, *known
            )
            self._unanswered.difference_update(queues)
            if found:
                logger.info("gave back %d messages whose delivery was cut off", found)

    def _decode(self, queues: Sequence[str], answer: list[Any]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        number: int
        p: int
        for start in range(1, len(answer), 4):
            number, p, entries, counters = answer[start : start + 4]
            for entry, counter in zip(entries, counters or [1] * len(entries), strict=True):
                deliveries.append(_decode(queues[number], p, self._consumer, entry, counter))
                self._held[queues[number], p, entry[0]] = None
        return deliveries


def _decode(queue: str, p: int, consumer: str, entry: list[Any], counter: int) -> Delivery:
    name, fields = entry
    task_id = fields[1].decode()
    if len(fields) == 4:  # noqa: PLR2004  (id and body)
        ticket = Ticket(queue, p, name, counter, consumer, task_id)
    else:
        more = dict(zip(fields[4::2], fields[5::2], strict=True))
        key, before = more.get(b"k", b"").decode(), int(more.get(b"n", 0))
        ticket = Ticket(queue, p, name, counter, consumer, task_id, key, before)
    return Delivery(queue, task_id, fields[3], _PRIORITIES[p], ticket.deliveries, ticket)
