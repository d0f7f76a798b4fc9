"""One opened database: the writer, the watcher, and who waits for what."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from anyio import CancelScope

from chicory.errors import BrokerConnectionError
from chicory.signal import Signal
from chicory.transport import Delivery, Release, TransportSettings
from chicory_sqlite import claiming, records, settling
from chicory_sqlite.address import Address
from chicory_sqlite.records import Stored
from chicory_sqlite.session import Session
from chicory_sqlite.sinks import Sink, Sinks
from chicory_sqlite.watcher import Watcher
from chicory_sqlite.writer import Undecided, Writer

T = TypeVar("T")


class Connection:
    """From open to close, on one event loop."""

    def __init__(self, address: Address, settings: TransportSettings) -> None:
        self._address = address
        self._clock = settings.clock
        self._arrivals = Signal(settings.clock)
        self._sinks = Sinks()
        start = partial(Session, address, settings)
        self._writer = Writer(address, start, self._arrivals.notify)
        self._watcher: Watcher | None = None

    async def open(self) -> None:
        """Connect; the watcher's thread sleeps until somebody waits."""
        await self._writer.open()
        try:
            with CancelScope(shield=True):
                namespace = await self._writer.look(lambda session: session.ns)
                watcher = self._watcher = Watcher(
                    self._address, namespace, self._clock, self._arrivals, self._sinks
                )
                # who ends the event loop without closing must not keep two threads and five files
                weakref.finalize(self, _abandon, self._writer, watcher).atexit = False
        except BaseException:
            await self._writer.close()
            raise

    async def close(self) -> None:
        """End what waits, finish what is queued, end both threads. Idempotent."""
        watcher, self._watcher = self._watcher, None
        self._arrivals.notify()
        self._sinks.clear()
        if watcher is not None:
            watcher.close()
        await self._writer.close()

    async def look(self, look: Callable[[Session], T], *, abandon: bool = False) -> T:
        """Read; ``abandon`` lets a cancellation end the wait for the answer."""
        return await self._writer.look(look, abandon=abandon)

    async def act(
        self,
        act: Callable[[Session], T],
        *,
        look: Callable[[Session], T | Undecided] | None = None,
        grows: bool = False,
        whole: Callable[[Session], T | None] | None = None,
        beside: bool = False,
    ) -> T:
        """Write; see ``Writer.act``."""
        return await self._writer.act(act, look=look, grows=grows, whole=whole, beside=beside)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages, waiting for the first one."""
        deadline = self._clock.now() + wait
        look = partial(claiming.glance, queues=queues, limit=limit)
        act = partial(claiming.claim, queues=queues, limit=limit)
        while True:
            seen = self._arrivals.version
            catch = await self._writer.act(act, look=look, undo=_give_back)
            if catch.deliveries or self._clock.now() >= deadline:
                return catch.deliveries
            with self._open_watcher.attention():
                await self._arrivals.wait(seen, min(deadline, catch.due))

    async def watch(self, task_ids: Collection[str], sink: Sink) -> None:
        """Tell the sink of records, those that are there and those to come."""
        wanted = tuple(task_ids)
        self._sinks.add(wanted, sink)
        try:
            last, found = await self.look(partial(_last_and_stored, task_ids=wanted))
            self._open_watcher.follow(last)
        except BaseException:
            self.unwatch(wanted)
            raise
        self._sinks.dispatch(found)

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Tell nobody of these calls any more."""
        self._sinks.remove(task_ids)
        if not self._sinks and self._watcher is not None:
            self._watcher.unfollow()

    @property
    def _open_watcher(self) -> Watcher:
        if self._watcher is None:
            raise BrokerConnectionError(f"the connection to {self._address.path} is closed")
        return self._watcher


def _abandon(writer: Writer, watcher: Watcher) -> None:
    watcher.abandon()
    writer.abandon()


def _give_back(session: Session, catch: claiming.Catch) -> None:
    settling.settle(session, [Release(delivery.receipt) for delivery in catch.deliveries])


def _last_and_stored(session: Session, task_ids: Collection[str]) -> tuple[int, Sequence[Stored]]:
    # The number first: a record stored in between is then reported by the watcher too, not missed.
    return session.last_seq(), records.stored(session, task_ids)
