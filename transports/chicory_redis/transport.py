"""The transport: each verb as scripts run by the server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio import CancelScope, move_on_after

from chicory.bridge import Bridge
from chicory.errors import BrokerConnectionError
from chicory.transport import (
    Abilities,
    Cancelled,
    Counts,
    DeadLetter,
    Delivery,
    Lease,
    Publication,
    PublishOutcome,
    Receipt,
    Record,
    Settled,
    Settlement,
    Standing,
    TransportSettings,
    WorkerRecord,
)
from chicory_redis import heartbeats, letters, settling
from chicory_redis import queues as whole_queues
from chicory_redis import records as recording
from chicory_redis.address import parse
from chicory_redis.client import Client
from chicory_redis.memos import TOGETHER
from chicory_redis.watching import Sinks

T = TypeVar("T")

_PING_TIMEOUT = 4.5


class RedisTransport:
    """Queues on a Redis server, or one that speaks its protocol."""

    abilities: Abilities = Abilities(
        shared=True, cross_process=True, durable=True, publishing=TOGETHER
    )

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._address = parse(settings.url)
        self._bridge = Bridge(f"chicory {self._address}")
        self._client: Client | None = None
        self._sinks: Sinks | None = None
        self._places = letters.Places()

    @property
    def calls(self) -> int:
        """How many commands were sent."""
        return 0 if self._client is None else self._client.calls

    def clone(self) -> Self:
        """An unopened transport to the same server."""
        return type(self)(self._settings)

    async def open(self) -> None:
        """Connect, and see that the server can be used."""
        if self._client is not None:
            return
        await self._bridge.open()
        sinks = Sinks(self._bridge.call_back)
        client = Client(self._address, self._settings, sinks)
        try:
            await self._bridge.run(client.open)
        except BaseException:
            with CancelScope(shield=True):
                await self._bridge.run(client.close)
                await self._bridge.close()
            raise
        self._client, self._sinks = client, sinks

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with CancelScope(shield=True):
                await self._bridge.run(client.close)
                await self._bridge.close()

    async def ping(self) -> None:
        """Ask for an answer."""
        with move_on_after(_PING_TIMEOUT):
            await self._bridge.run(self._open.ping)
            return
        raise BrokerConnectionError(f"{self._address} did not answer in {_PING_TIMEOUT:g} s")

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages."""
        return await self._bridge.run(self._open.publish, publications)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages, waiting for the first one."""
        return await self._bridge.run(self._open.fetch, queues, limit, wait)

    async def renew(self, receipts: Sequence[Receipt]) -> Sequence[Lease]:
        """Extend leases."""
        return await self._bridge.run(self._open.renew, receipts)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes durable."""
        return await self._bridge.run(self._open.settle, settlements)

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls by id."""
        return await self._run(settling.cancel, records)

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand."""
        return await self._run(recording.look_up, task_ids)

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records."""
        await self._run(recording.store, records)

    async def watch(self, task_ids: Collection[str], sink: Callable[[str, bytes], None]) -> None:
        """Have a sink called for the record of each call."""
        client, sinks = self._open, self._sinks
        assert sinks is not None
        sinks.add(task_ids, sink)
        await self._bridge.run(client.watch, tuple(task_ids))

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Call the sinks of these ids no more."""
        if self._client is not None and self._sinks is not None:
            gone = self._sinks.remove(task_ids)
            if gone:
                self._bridge.call_soon(self._client.unwatch, gone)

    async def dead_letters(
        self, queue: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """A page of dead letters."""
        return await self._run(letters.page, self._places, queue, after, limit)

    async def find_dead(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Dead letters by id."""
        return await self._run(letters.find, letter_ids)

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Put publications on their queues in place of dead letters."""
        return await self._run(letters.replay, items)

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters by id."""
        return await self._run(letters.discard, letter_ids)

    async def purge(self, queue: str, *, dead: bool = False) -> int:
        """Delete the messages, or the dead letters, that are there."""
        return await self._run(whole_queues.purge, queue, dead=dead)

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Count messages."""
        return await self._run(whole_queues.counts, queues)

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume the delivery of a queue."""
        await self._run(whole_queues.pause, queue, paused=paused)

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a worker's heartbeat."""
        await self._run(heartbeats.beat, record, ttl)

    async def workers(self) -> Sequence[WorkerRecord]:
        """Heartbeats."""
        return await self._run(heartbeats.every, self._settings.clock)

    async def __aenter__(self) -> Self:
        """Open."""
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def _run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await self._bridge.run(partial(self._open.run, function, *args, **options))

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise BrokerConnectionError(f"the transport to {self._address} is not open")
        return self._client
