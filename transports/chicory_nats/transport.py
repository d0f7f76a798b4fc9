"""The transport: each verb, on the event loop that nats-py can use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from anyio import CancelScope
from msgspec.structs import replace

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
from chicory_nats.address import parse
from chicory_nats.space import Space
from chicory_nats.ticket import Ticket
from chicory_nats.whole import whole

T = TypeVar("T")

_TOGETHER = 2
"""A settlement takes two round trips, between which the server waits, and then the worker."""


class NatsTransport:
    """Queues in a JetStream stream, shared by all who reach the server."""

    abilities: Abilities = Abilities(
        shared=True, cross_process=True, durable=True, together=_TOGETHER
    )

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._address = parse(settings.url)
        self._bridge = Bridge(f"chicory nats {self._address}")
        self._space: Space | None = None
        self._sinks: dict[str, Callable[[str, bytes], None]] = {}

    def clone(self) -> Self:
        """An unopened transport to the same namespace."""
        return type(self)(self._settings)

    async def open(self) -> None:
        """Connect, and make the stream where there is none."""
        if self._space is not None:
            return
        await self._bridge.open()
        try:
            self._space = await self._bridge.run(self._connect)
        except BaseException:
            await self._bridge.close()
            raise
        self.abilities = replace(self.abilities, max_size=self._space.session.max_size)

    async def close(self) -> None:
        """Disconnect."""
        space, self._space = self._space, None
        self._sinks.clear()
        if space is not None:
            with CancelScope(shield=True):
                await self._bridge.run(space.close)
                await self._bridge.close()

    async def ping(self) -> None:
        """One round trip."""
        await self._bridge.run(self._open.session.connection.ping)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages."""
        return await self._whole(self._open.publisher.publish, publications)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages, waiting for the first one."""
        return await self._bridge.run(self._open.fetcher.fetch, queues, limit, wait)

    def vouches(self) -> bool:
        """Whether the server has all fetches in mind that wait."""
        space = self._space
        return space is not None and space.fetcher.vouches()

    async def renew(self, receipts: Sequence[Receipt]) -> Sequence[Lease]:
        """Extend leases."""
        # a receipt is opaque to the port, and this transport gave it out
        return await self._whole(self._open.leases.renew, cast("Sequence[Ticket]", receipts))

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes durable."""
        return await self._whole(self._open.settler.settle, settlements)

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls by id."""
        return await self._whole(self._open.canceller.cancel, records)

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand."""
        return await self._bridge.run(self._open.records.look_up, task_ids)

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records."""
        await self._whole(self._open.records.store, records)

    async def watch(self, task_ids: Collection[str], sink: Callable[[str, bytes], None]) -> None:
        """Have a sink called for the record of each call."""
        watcher = self._open.watcher
        self._sinks.update(dict.fromkeys(task_ids, sink))
        await self._bridge.run(watcher.watch, task_ids, sink)

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Call the sinks of these ids no more."""
        for task_id in task_ids:
            self._sinks.pop(task_id, None)
        if self._space is not None:
            self._bridge.call_soon(self._space.unwatch, tuple(task_ids))

    async def dead_letters(
        self, queue: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """A page of dead letters."""
        return await self._bridge.run(self._open.letters.page, queue, after, limit)

    async def find_dead(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Dead letters by id."""
        return await self._bridge.run(self._open.letters.find, letter_ids)

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Exchange dead letters for messages."""
        return await self._whole(self._open.letters.replay, items)

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters."""
        return await self._whole(self._open.letters.discard, letter_ids)

    async def purge(self, queue: str, *, dead: bool = False) -> int:
        """Delete what is not leased, or the dead letters."""
        of = self._open.letters if dead else self._open.queues
        return await self._whole(of.purge, queue)

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Count messages."""
        return await self._bridge.run(self._open.queues.counts, queues)

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume the delivery of a queue."""
        await self._whole(self._open.queues.set_paused, queue, paused)

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a worker's heartbeat."""
        await self._whole(self._open.workers.beat, record, ttl)

    async def workers(self) -> Sequence[WorkerRecord]:
        """Heartbeats."""
        return await self._bridge.run(self._open.workers.all, self._settings.clock)

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

    async def _connect(self) -> Space:
        space = Space(self._address, self._settings, self._tell)
        await space.open()
        return space

    async def _whole(self, verb: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Have a verb done to its end although the caller is cancelled."""
        connection = self._open.session.connection
        return await self._bridge.run(lambda: whole(verb(*args), connection))

    def _tell(self, sink: Callable[[str, bytes], None], task_id: str, body: bytes) -> None:
        self._bridge.call_back(self._hear, sink, task_id, body)

    def _hear(self, sink: Callable[[str, bytes], None], task_id: str, body: bytes) -> None:
        if self._sinks.get(task_id) is sink:  # it may have been taken back meanwhile
            sink(task_id, body)

    @property
    def _open(self) -> Space:
        if self._space is None:
            raise BrokerConnectionError(f"the transport to {self._address} is not open")
        return self._space
