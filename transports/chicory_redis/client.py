"""What an open transport has, on the asyncio loop where redis-py runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from chicory.transport import (
    Delivery,
    Lease,
    Publication,
    PublishOutcome,
    Receipt,
    Settled,
    Settlement,
    TransportSettings,
)
from chicory_redis import keys, publishing, settling, times
from chicory_redis.address import Address
from chicory_redis.connecting import Connector
from chicory_redis.fetching import Fetching
from chicory_redis.inspection import inspect
from chicory_redis.listener import Listener
from chicory_redis.operations import Operations
from chicory_redis.server import Server
from chicory_redis.translation import Lost
from chicory_redis.waiting import Waiting
from chicory_redis.watching import Sinks, Watching
from chicory_redis.wire import Wire

T = TypeVar("T")

_FAREWELL = 1.0


class Client:
    """One connection for commands, and one to listen on where it is needed.

    All methods must be called on one asyncio loop.
    """

    def __init__(self, address: Address, settings: TransportSettings, sinks: Sinks) -> None:
        name = uuid4().hex
        base = keys.base(address.key_prefix, settings.namespace)
        connector = Connector(address, f"chicory-{name}")
        self._wire = Wire(connector)
        self._operations = Operations()
        self._server = Server(self._wire, self._operations, base, name, address.consumer_group)
        wakes = keys.wakes(base, name)
        self._wakes = wakes.encode()
        permission = keys.channels(base)
        self._listener = Listener(connector, wakes, permission, self._heard, self._connected)
        connector.on_move = self._listener.follow
        lease = times.span(settings.lease)
        self._waiting = Waiting(self._server, self._operations, lease)
        self._watching = Watching(self._server, self._listener, sinks, self._operations)
        self._fetching = Fetching(
            self._server,
            self._listener,
            self._waiting,
            self._operations,
            lease,
        )

    @property
    def calls(self) -> int:
        """How many commands were sent."""
        return self._wire.calls

    async def open(self) -> None:
        """Connect, and see that the server can be used."""
        await self._operations.run(inspect(self._server))

    async def close(self) -> None:
        """Disconnect; whoever waits gets an error."""
        with suppress(Lost, RedisError, TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._fetching.part()
        await self._wire.close()
        await self._listener.close()
        self._waiting.wake_all()
        await self._operations.close()

    async def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **options: Any
    ) -> T:
        """Call ``function(server, *args)``; cancelled, it is done or was not begun."""
        return await self._operations.run(function(self._server, *args, **options))

    async def ping(self) -> None:
        """One round trip."""
        await self._server.command_now("PING")

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> list[Delivery]:
        """Lease messages."""
        return await self._fetching.fetch(queues, limit, wait)

    async def renew(self, receipts: Sequence[Receipt]) -> list[Lease]:
        """Extend leases."""
        return await self._operations.run(self._fetching.renew(receipts))

    async def publish(self, publications: Sequence[Publication]) -> list[PublishOutcome]:
        """Store messages."""
        return await publishing.publish(self._server, publications)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Make outcomes durable."""
        answers = await settling.settle(self._server, settlements)
        self._fetching.settled([settlement.receipt for settlement in settlements])
        return answers

    async def watch(self, task_ids: Sequence[str]) -> None:
        """Have records pushed to the sinks."""
        await self._watching.watch(task_ids)

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Have them pushed no more."""
        self._watching.forget(task_ids)

    def _heard(self, channel: bytes, message: bytes) -> None:
        if channel == self._wakes:
            hear = self._fetching.handed if message.startswith(b"+") else self._waiting.heard
            hear(message)
        else:
            self._watching.heard(channel, message)

    def _connected(self) -> None:
        self._fetching.deafened()
        self._watching.connected()
