"""One open transport on one event loop, with what the doors share: group commit and waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from anyio import CancelScope, Lock

from chicory import cancellation, portal, record
from chicory.clock import Clock
from chicory.coalescer import Coalescer
from chicory.errors import BrokerConnectionError, ChicoryError, MessageError
from chicory.lanes import Lanes
from chicory.loop import Loop, current_loop
from chicory.record import StoredResult
from chicory.transport import (
    DEFAULT_LEASE,
    Cancelled,
    Publication,
    PublishOutcome,
    Record,
    Transport,
)

MAX_BATCH = 256
MAX_CANCELLED = 128
"""More in one step would make other clients of the broker wait."""
MAX_ORDERED = 64
"""Calls that one order is about, beside those of the one before: any server takes such a record."""

Outcome: TypeAlias = StoredResult | ChicoryError
"""A call's final result, or the error for which it cannot be had."""
Callback: TypeAlias = Callable[[str, Outcome], None]
"""Told a call's id and its outcome."""


class Session:
    """An open transport and its group commit.

    ``publish(publication)``, ``cancel(record)`` and ``order(task_id)``, which tells workers to stop
    that call, share their round trips with others that are made at the same time.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.results = ResultWatch(transport)
        together = transport.abilities.publishing
        lanes = Lanes[Publication, PublishOutcome](transport.publish, MAX_BATCH, together)
        self.publish = lanes.submit
        self.cancel = Coalescer[Record, Cancelled](transport.cancel, MAX_CANCELLED).submit
        self.order = Coalescer[str, None](self._order, MAX_ORDERED).submit
        self._ordered: Sequence[str] = ()

    async def _order(self, task_ids: Sequence[str]) -> Sequence[None]:
        """Order calls to be stopped."""
        # an order that this one replaces before it was seen is given with it
        before, self._ordered = self._ordered, task_ids
        await self.transport.store([cancellation.order([*before, *task_ids])])
        return [None] * len(task_ids)

    async def publish_all(
        self, publications: Sequence[Publication]
    ) -> Sequence[PublishOutcome | ChicoryError]:
        """Publish; what became of each. One that is refused takes none of the others with it."""
        if not publications:
            return []
        try:
            return await self.transport.publish(publications)
        except BrokerConnectionError as error:
            return [error] * len(publications)
        except ChicoryError as error:
            if len(publications) == 1:
                return [error]
        middle = len(publications) // 2  # what was stored already is a duplicate of itself
        first = await self.publish_all(publications[:middle])
        return [*first, *await self.publish_all(publications[middle:])]

    async def close(self) -> None:
        """Close the transport; who waits for a result is told that it will not come this way."""
        try:
            with CancelScope(shield=True):
                await self.transport.close()
        finally:
            self.results.close()


class ResultWatch:
    """Calls back for results as they are pushed; thousands may be awaited at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._callbacks: dict[str, list[Callback]] = {}
        self._begin = Coalescer[str, None](self._watch, MAX_BATCH)

    async def add(self, task_ids: Sequence[str], callback: Callback) -> None:
        """Have ``callback`` called once for each call, with its final result; now, if it is there.

        Raises as ``Transport.watch`` does; then none is watched.
        """
        for task_id in task_ids:
            self._callbacks.setdefault(task_id, []).append(callback)
        try:
            # each time, also for an id under watch: its result may have come and be gone by
            if len(task_ids) == 1:
                await self._begin.submit(task_ids[0])
            else:
                for start in range(0, len(task_ids), MAX_BATCH):
                    await self._watch(task_ids[start : start + MAX_BATCH])
        except BaseException:
            self.discard(task_ids, callback)
            raise

    def discard(self, task_ids: Sequence[str], callback: Callback) -> None:
        """Call it no more for these."""
        alone: list[str] = []
        for task_id in task_ids:
            callbacks = self._callbacks.get(task_id, [])
            if callback in callbacks:
                callbacks.remove(callback)
                if not callbacks:
                    del self._callbacks[task_id]
                    alone.append(task_id)
        if alone:
            self._transport.unwatch(alone)

    def close(self, why: str = "the connection was closed") -> None:
        """Tell all who wait ``why`` they wait in vain."""
        waiting, self._callbacks = self._callbacks, {}
        for task_id, callbacks in waiting.items():
            for callback in callbacks:
                text = f"{why} while the result of {task_id} was awaited"
                callback(task_id, BrokerConnectionError(text))

    async def _watch(self, task_ids: Sequence[str]) -> Sequence[None]:
        await self._transport.watch([i for i in task_ids if i in self._callbacks], self._receive)
        # who gave up meanwhile leaves nothing under watch
        self._transport.unwatch([i for i in task_ids if i not in self._callbacks])
        return [None] * len(task_ids)

    def _receive(self, task_id: str, body: bytes) -> None:
        try:
            result = record.decode(body)
        except MessageError as error:
            self._tell(task_id, error)
        else:
            if result.state.final:
                self._tell(task_id, result)

    def _tell(self, task_id: str, outcome: Outcome) -> None:
        callbacks = self._callbacks.pop(task_id, [])
        for callback in callbacks:
            callback(task_id, outcome)
        if callbacks and task_id not in self._callbacks:  # who waited goes on before this is done
            self._transport.unwatch([task_id])


class Link:
    """One address, opened when it is first used, once on each event loop that uses it.

    Attributes:
        template: what is opened, as often as need be.
        clock: the time.
        lease: seconds after which what a worker held is held no more, if it is dead.
    """

    def __init__(self, template: Transport, clock: Clock, lease: float = DEFAULT_LEASE) -> None:
        self.template = template
        self.clock = clock
        self.lease = lease
        self._sessions: dict[object, Session] = {}
        self._gates: dict[object, tuple[Loop, Lock]] = {}

    def opened(self) -> Session | None:
        """The session of this event loop, where there is one."""
        return self._sessions.get(current_loop().key)

    async def session(self) -> Session:
        """The session of this event loop, opened if need be. Raises as ``Transport.open`` does."""
        session = self.opened()
        if session is not None:
            return session
        loop = current_loop()
        async with self._gate(loop):
            sessions = self._sessions  # others where the transport is exchanged meanwhile
            session = sessions.get(loop.key)
            if session is None:
                session = sessions[loop.key] = Session(await self._open())
                portal.closed_at_exit(self, self.close)
        return session

    async def close(self) -> None:
        """Close this event loop's session; the next use opens a new one."""
        loop = current_loop()
        with CancelScope(shield=True):
            async with self._gate(loop):
                session = self._sessions.pop(loop.key, None)
                if session is not None:
                    portal.forget(self)
                    await session.close()

    def exchange(self, template: Transport, clock: Clock) -> Callable[[str], None]:
        """Use another transport and clock from now on; call what is returned to undo that.

        The sessions that are open are put aside, not closed. Who waits for a result of the other
        transport when that is undone is told why it will not come, in the words given.
        """
        before = (self.template, self.clock, self._sessions)
        self.template, self.clock, self._sessions = template, clock, {}
        others = self._sessions

        def undo(why: str) -> None:
            self.template, self.clock, self._sessions = before
            for key, session in list(others.items()):
                if key in self._gates:
                    self._gates[key][0].call_soon(session.results.close, why)

        return undo

    async def failure(self) -> str | None:
        """Why the broker does not answer now, or ``None`` where it does."""
        try:
            await (await self.session()).transport.ping()
        except ChicoryError as error:
            return str(error)
        return None

    async def _open(self) -> Transport:
        transport = self.template.clone()
        try:
            await transport.open()
        except BaseException:
            with CancelScope(shield=True):
                await transport.close()
            raise
        return transport

    def _gate(self, loop: Loop) -> Lock:
        """Lets one task at a time open or close the session of a loop."""
        if loop.key not in self._gates:
            self._forget_ended_loops()
            self._gates[loop.key] = (loop, Lock())
        return self._gates[loop.key][1]

    def _forget_ended_loops(self) -> None:
        # each asyncio.run() is a loop of its own, and few programs disconnect at its end
        for loop, _ in list(self._gates.values()):
            if not loop.call_soon(_nothing):
                self._gates.pop(loop.key, None)
                self._sessions.pop(loop.key, None)


def _nothing() -> None:
    """To be called by a loop that still runs."""
