"""The transport without a broker: the reference model, and for tests of tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.loop import current_loop
from chicory.masking import mask, split
from chicory.signal import Signal
from chicory.testing.records import Watcher
from chicory.testing.store import Store
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

_named: dict[tuple[str, str], Store] = {}
_named_lock = threading.Lock()


def forget(name: str) -> None:
    """Lose everything kept under ``memory://name``, as when the process ends."""
    with _named_lock:
        for key in [key for key in _named if key[0] == name]:
            del _named[key]


class MemoryTransport:
    """A broker inside this process, at ``memory://`` or ``memory://name``.

    Without a name its contents belong to this object and its clones; those of a name are shared
    by all transports of the process and kept until it ends, or until ``forget(name)``. It is
    never full. Verbs that find their work done at once do not yield to the event loop.

    Attributes:
        calls: how many steps this transport has made on the store.
    """

    abilities = Abilities(shared=False, cross_process=False, durable=False)
    store_type = Store

    def __init__(self, settings: TransportSettings, store: Store | None = None) -> None:
        self._settings = settings
        self._clock = settings.clock
        self._store = store or self._find_store()
        self._news = Signal(settings.clock)
        self._watcher: Watcher | None = None
        self._is_open = False
        self.calls = 0

    def clone(self) -> Self:
        """An unopened transport to the same contents."""
        return type(self)(self._settings, self._store)

    async def open(self) -> None:
        """Begin; there is nothing to connect to."""
        self._watcher = self._watcher or Watcher(current_loop())
        self._is_open = True
        await checkpoint()

    async def close(self) -> None:
        """End; whoever waits gets an error."""
        self._is_open = False
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with self._store.lock:
                self._store.records.unwatch(watcher.clear(), watcher)
        self._news.notify()
        await checkpoint()

    async def ping(self) -> None:
        """See that it is open."""
        await checkpoint()
        self._enter()

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages."""
        store, now = self._enter()
        with store.lock:
            outcomes = [store.publish(publication, now) for publication in publications]
            woken = store.pop_woken()
        _notify(woken)
        return outcomes

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages, or wait for some."""
        until = self._clock.now() + wait
        while True:
            store, now = self._enter()
            seen = self._news.version
            with store.lock:
                taken = store.take(queues, limit, self._settings.lease, now, self._news)
                change = store.next_change()
                woken = store.pop_woken()
            _notify(woken)
            if taken:
                return taken
            if now >= until:
                await checkpoint()
                return taken
            await self._news.wait(seen, min(until, change))

    async def renew(self, receipts: Sequence[Receipt]) -> Sequence[Lease]:
        """Extend leases."""
        store, now = self._enter()
        with store.lock:
            return [store.renew(receipt, now) for receipt in receipts]

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes final."""
        store, now = self._enter()
        with store.lock:
            answers = [store.settle(settlement, now) for settlement in settlements]
            woken = store.pop_woken()
        _notify(woken)
        return answers

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            answers = [store.cancel(record, now) for record in records]
            woken = store.pop_woken()
        _notify(woken)
        return answers

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            standings = [store.look_up(task_id, now) for task_id in task_ids]
            woken = store.pop_woken()
        _notify(woken)
        return standings

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            for record in records:
                store.records.put(record, now)

    async def watch(self, task_ids: Collection[str], sink: Callable[[str, bytes], None]) -> None:
        """Have records pushed."""
        await checkpoint()
        store, now = self._enter()
        watcher = self._watcher
        if watcher is not None:
            with store.lock:
                watcher.add(task_ids, sink)
                store.records.watch(task_ids, watcher, now)

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Have them pushed no more."""
        watcher = self._watcher
        if watcher is not None:
            with self._store.lock:
                self._store.records.unwatch(watcher.remove(task_ids), watcher)

    async def dead_letters(
        self, queue: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """A page of dead letters."""
        await checkpoint()
        store, _ = self._enter()
        with store.lock:
            return store.letters.page(queue, after, limit)

    async def find_dead(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Dead letters by id."""
        await checkpoint()
        store, _ = self._enter()
        with store.lock:
            return [store.letters.get(letter_id) for letter_id in letter_ids]

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Exchange dead letters for messages."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            answers = [store.replay(letter_id, again, now) for letter_id, again in items]
            woken = store.pop_woken()
        _notify(woken)
        return answers

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters."""
        await checkpoint()
        store, _ = self._enter()
        with store.lock:
            return [store.letters.pop(letter_id) is not None for letter_id in letter_ids]

    async def purge(self, queue: str, *, dead: bool = False) -> int:
        """Delete what is not leased, or the dead letters."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            number = store.letters.clear(queue) if dead else store.purge(queue, now)
            woken = store.pop_woken()
        _notify(woken)
        return number

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Count messages."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            names = store.queues() if queues is None else queues
            counts = {name: store.counts(name, now) for name in names}
            woken = store.pop_woken()
        _notify(woken)
        return counts

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume a queue."""
        await checkpoint()
        store, _ = self._enter()
        with store.lock:
            store.set_paused(queue, paused)
            woken = store.pop_woken()
        _notify(woken)

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a heartbeat."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            store.heartbeats.beat(record, ttl, now)

    async def workers(self) -> Sequence[WorkerRecord]:
        """Heartbeats that have not expired."""
        await checkpoint()
        store, now = self._enter()
        with store.lock:
            return store.heartbeats.alive(now)

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

    def _enter(self) -> tuple[Store, float]:
        if not self._is_open:
            raise BrokerConnectionError(f"{mask(self._settings.url)} is not open")
        self.calls += 1
        return self._store, self._clock.now()

    def _find_store(self) -> Store:
        url = split(self._settings.url)
        if url is None or url.scheme != "memory" or url.path or url.query or url.fragment:
            raise ConfigurationError(
                f"{mask(self._settings.url)!r} is not an address in memory: "
                "write memory:// or memory://name"
            )
        if not url.netloc:
            return self.store_type()
        with _named_lock:
            key = (url.netloc, self._settings.namespace)
            if key not in _named:
                _named[key] = self.store_type()
            return _named[key]


def _notify(woken: Collection[Signal]) -> None:
    for signal in woken:
        signal.notify()
