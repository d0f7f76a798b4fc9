"""The transport: each verb as one operation on the database."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self, cast

from anyio import move_on_after

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
from chicory_sqlite import claiming, heartbeats, letters, publishing, settling
from chicory_sqlite import queues as whole_queues
from chicory_sqlite import records as recording
from chicory_sqlite.address import Address, parse
from chicory_sqlite.claiming import Ticket
from chicory_sqlite.connection import Connection
from chicory_sqlite.packing import parcel
from chicory_sqlite.session import Session

_AT_ONCE = 2000
_PRUNED_PER_BEAT = 10
_PING_TIMEOUT = 5.0
_JOINED = 256
"""Messages of so many callers are one batch at most; a larger one is one caller's, of many."""


class SQLiteTransport:
    """Queues in one SQLite file, shared by the processes of one machine."""

    abilities: Abilities = Abilities(
        shared=False, cross_process=True, durable=True, bulk=1024, beside=True
    )

    def __init__(self, settings: TransportSettings, address: Address | None = None) -> None:
        self._settings = settings
        self._address = address or parse(settings.url)
        self._connection: Connection | None = None
        self._places = letters.Places()

    def clone(self) -> Self:
        """An unopened transport on the same file, also where the current folder is another now."""
        return type(self)(self._settings, self._address)

    async def open(self) -> None:
        """Open the file, creating it and its tables where they are missing."""
        if self._connection is None:
            connection = Connection(self._address, self._settings)
            await connection.open()
            self._connection = connection

    async def close(self) -> None:
        """Finish what is under way and close the file."""
        if self._connection is not None:
            await self._connection.close()

    async def ping(self) -> None:
        """Read from the file."""
        with move_on_after(_PING_TIMEOUT):
            await self._open.look(Session.last_seq, abandon=True)
            return
        raise BrokerConnectionError(f"{self._address.path} did not answer in {_PING_TIMEOUT:g} s")

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages."""
        packed = parcel(publications)
        act = partial(publishing.publish, publications=publications, packed=packed)
        if packed is None:
            return await self._open.act(act, grows=True)
        put = partial(publishing.put, publications=publications, packed=packed)
        beside = len(publications) > _JOINED
        return await self._open.act(act, grows=True, whole=put, beside=beside)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages, waiting for the first one."""
        return await self._open.fetch(queues, limit, wait)

    async def renew(self, receipts: Sequence[Receipt]) -> Sequence[Lease]:
        """Extend leases."""
        # a receipt is opaque to the port, and this transport gave it out
        tickets = cast("Sequence[Ticket]", receipts)
        return await self._open.act(partial(claiming.renew, tickets=tickets))

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes durable."""
        return await self._open.act(partial(settling.settle, settlements=settlements))

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls by id."""
        return await self._open.act(partial(settling.cancel, cancellations=records))

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand."""
        return await self._open.look(partial(recording.look_up, task_ids=task_ids))

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records."""
        await self._open.act(partial(recording.store, records=records))

    async def watch(self, task_ids: Collection[str], sink: Callable[[str, bytes], None]) -> None:
        """Have a sink called for the record of each call."""
        await self._open.watch(task_ids, sink)

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Call the sinks of these ids no more."""
        if self._connection is not None:
            self._connection.unwatch(task_ids)

    async def dead_letters(
        self, queue: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """A page of dead letters."""
        place = None if after is None else self._places.get(after)
        look = partial(letters.page, queue=queue, after=after, place=place, limit=limit)
        page = await self._open.look(look)
        self._places.note(page)
        return [kept.letter for kept in page]

    async def find_dead(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Dead letters by id."""
        return await self._open.look(partial(letters.find, letter_ids=letter_ids))

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Put publications on their queues in place of dead letters."""
        return await self._open.act(partial(letters.replay, items=items))

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters by id."""
        return await self._open.act(partial(letters.discard, letter_ids=letter_ids))

    async def purge(self, queue: str, *, dead: bool = False) -> int:
        """Delete the messages, or the dead letters, that are there now."""
        purge = whole_queues.purge_dead if dead else whole_queues.purge
        last = await self._open.look(Session.last_seq)
        act = partial(purge, queue=queue, last=last, limit=_AT_ONCE)
        return await self._repeat(act)

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Count messages."""
        return await self._open.look(partial(whole_queues.counts, queues=queues))

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume the delivery of a queue."""
        await self._open.act(partial(whole_queues.pause, queue=queue, paused=paused))

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a worker's heartbeat, and do the housekeeping."""
        await self._open.act(partial(heartbeats.beat, record=record, ttl=ttl))
        for prune in (recording.prune, recording.prune_locks):
            await self._repeat(partial(prune, limit=_AT_ONCE), at_most=_PRUNED_PER_BEAT)

    async def workers(self) -> Sequence[WorkerRecord]:
        """Heartbeats."""
        return await self._open.look(heartbeats.every)

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

    async def _repeat(self, act: Callable[[Session], int], *, at_most: float = math.inf) -> int:
        """Delete in bounded transactions, so that other processes get a turn."""
        total, times = 0, 0
        while times < at_most:
            deleted = await self._open.act(act)
            total, times = total + deleted, times + 1
            if deleted < _AT_ONCE:
                break
        return total

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise BrokerConnectionError(f"the transport to {self._address.path} is not open")
        return self._connection
