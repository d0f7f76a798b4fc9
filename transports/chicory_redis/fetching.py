"""Fetching: leasing messages, and waiting for some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from anyio import CancelScope
from redis.exceptions import RedisError

from chicory.errors import ChicoryError
from chicory.transport import Delivery, Lease, Receipt, Release
from chicory_redis import keys, settling
from chicory_redis.deliveries import fetched, handed_over
from chicory_redis.listener import Listener
from chicory_redis.operations import Operations
from chicory_redis.receipts import Ticket
from chicory_redis.resending import Resending
from chicory_redis.server import Server
from chicory_redis.translation import Lost
from chicory_redis.waiting import Waiter, Waiting

_MOST_RENEWED = 128
_LONGEST = 30.0
"""Seconds until a fetch looks again: after a minute the server forgets that it waits."""
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
        self._look_every = min(lease / 2000, _LONGEST)
        self._server_ahead = 0.0  # ms, of this loop's clock; less than that by what an answer took
        self._held: dict[tuple[str, int, bytes], None] = {}
        self._asked: set[str] = set()
        self._unanswered: set[str] = set()
        self._asking = 0
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
        waiter = self._waiting.enter(queues)
        try:
            deliveries = await self._wait(waiter, limit, until)
        except BaseException:
            with CancelScope(shield=True):
                await self._give_back(await self._withdraw(waiter))
            raise
        finally:
            self._waiting.leave(waiter)
        if len(deliveries) > limit:  # one was handed over while others were taken
            self._operations.begin(self._give_back(deliveries[limit:]))
        return deliveries[:limit]

    def handed(self, message: bytes) -> None:
        """The server has leased a message for a fetch that waits.

        Where the fetch is gone, or this loop was blocked for long, the message is given back: the
        lease may be over before it is renewed.
        """
        given = handed_over(message, self._consumer)
        waiter = self._waiting.find(given.number)
        age = 1000 * asyncio.get_running_loop().time() + self._server_ahead - given.at
        if waiter is not None and age < self._lease / 4:
            self._hold([given.delivery])
            waiter.hand(given.delivery)
            return
        self._operations.begin(self._give_back([given.delivery]))
        if waiter is not None:
            waiter.wake()  # the server has struck it off

    def deafened(self) -> None:
        """What was said by the server may have been lost, and messages with it."""
        self._unanswered.update(self._asked)
        self._waiting.wake_all()

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
            self._unanswered.update(self._asked)
            await self._reclaim()
            await self._server.attempt("part", self._consumer, *self._asked)

    async def _wait(self, waiter: Waiter, limit: int, until: float) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        while True:
            await self._be_heard()
            waiter.reset()  # one look both takes what is there and waits for more
            change, deliveries = await self._take(waiter.queues, limit, waiter)
            left = until - loop.time()
            if deliveries or waiter.handed or left <= 0:
                return deliveries + await self._withdraw(waiter)
            pause = min(left, self._look_every)
            await waiter.wait(pause if change < 0 else min(pause, change / 1000))
            if waiter.handed:
                return waiter.take()

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
        self._asked.update(queues)
        resending = Resending(self._server.address)
        while True:
            try:
                await self._reclaim()
                registered = int(waiter is not None and waiter.is_registered)
                arguments = (self._consumer, self._lease, limit, token, registered, *queues)
                asked_at = asyncio.get_running_loop().time()
                self._asking += 1
                if waiter is not None:
                    waiter.is_registered = True  # perhaps, where the answer is lost
                try:
                    change, at, *groups = await self._server.attempt("fetch", *arguments)
                finally:
                    self._asking -= 1
                break
            except Lost as error:
                self._unanswered.update(queues)
                await resending.after(error)
            except RedisError as error:
                await resending.after(error)
        self._server_ahead = at - 1000 * asked_at
        if waiter is not None:
            waiter.is_registered = not groups
        deliveries = fetched(queues, self._consumer, groups)
        self._hold(deliveries)
        return change, deliveries

    async def _reclaim(self) -> None:
        """Give back what was leased to us by answers, or messages, that were lost."""
        async with self._reclaiming:
            # what the answer to another fetch holds is not known here before it comes
            if not self._unanswered or self._asking:
                return
            await self._be_handed_no_more()
            queues = tuple(self._unanswered)
            known = [keys.place(p, entry, queue) for queue, p, entry in self._held]
            found = await self._server.attempt(
                "reclaim", self._consumer, len(queues), *queues, *known
            )
            self._unanswered.difference_update(queues)
            if found:
                logger.info("gave back %d messages whose delivery was cut off", found)

    async def _withdraw(self, waiter: Waiter) -> list[Delivery]:
        """Have it registered no more; what it was handed by then."""
        if waiter.is_registered:
            striking = self._operations.begin(self._try_to_strike_off(waiter))
            await striking.outlast()
        return waiter.take()

    async def _try_to_strike_off(self, waiter: Waiter) -> None:
        try:
            await self._strike_off(waiter)
        except (Lost, RedisError):
            self._unanswered.update(waiter.queues)

    async def _strike_off(self, waiter: Waiter) -> None:
        found = await self._server.attempt("unwait", waiter.token, *waiter.queues)
        waiter.is_registered = False
        if not found and self._listener.is_connected:  # it was just woken, or handed a message
            await self._listener.barrier()

    async def _be_handed_no_more(self) -> None:
        for waiter in self._waiting.registered():
            await self._strike_off(waiter)
            waiter.wake()  # to look again, and be registered again

    def _hold(self, deliveries: Iterable[Delivery]) -> None:
        for ticket in (delivery.receipt for delivery in deliveries):
            assert isinstance(ticket, Ticket)
            self._held[ticket.queue, ticket.priority, ticket.entry] = None
