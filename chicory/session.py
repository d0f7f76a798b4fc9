"""One open transport on one event loop, with what the doors share: group commit and waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from anyio import Lock

from chicory import record
from chicory.clock import Clock
from chicory.coalescer import Coalescer
from chicory.errors import BrokerConnectionError, MessageError
from chicory.loop import current_loop
from chicory.record import StoredResult
from chicory.transport import Publication, PublishOutcome, Transport

MAX_BATCH = 256

logger = logging.getLogger("chicory")

Callback = Callable[[StoredResult], None]


class Session:
    """An open transport and its group commit."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.results = ResultWatch(transport)
        self._publications = Coalescer[Publication, PublishOutcome](transport.publish, MAX_BATCH)
        self.publish = self._publications.submit


class ResultWatch:
    """Calls back for results as they are pushed; thousands may be awaited at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._callbacks: dict[str, list[Callback]] = {}
        self._begin = Coalescer[str, None](self._watch, MAX_BATCH)

    async def add(self, task_id: str, callback: Callback) -> None:
        """Have ``callback`` called once, with the call's final result; now, if it is there."""
        callbacks = self._callbacks.setdefault(task_id, [])
        callbacks.append(callback)
        try:
            # each time, also for an id under watch: its result may have come and be gone by
            await self._begin.submit(task_id)
        except BaseException:
            self.discard(task_id, callback)
            raise

    def discard(self, task_id: str, callback: Callback) -> None:
        """Call it no more."""
        callbacks = self._callbacks.get(task_id, [])
        if callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self._callbacks[task_id]
                self._transport.unwatch([task_id])

    async def _watch(self, task_ids: Sequence[str]) -> Sequence[None]:
        await self._transport.watch([i for i in task_ids if i in self._callbacks], self._receive)
        # who gave up meanwhile leaves nothing under watch
        self._transport.unwatch([i for i in task_ids if i not in self._callbacks])
        return [None] * len(task_ids)

    def _receive(self, task_id: str, body: bytes) -> None:
        try:
            result = record.decode(body)
        except MessageError as error:
            logger.warning("result of task %s cannot be read: %s", task_id, error)
            return
        if result.state.final and task_id in self._callbacks:
            callbacks = self._callbacks.pop(task_id)
            self._transport.unwatch([task_id])
            for callback in callbacks:
                callback(result)


class Link:
    """One address, opened when it is first used, once on each event loop that uses it."""

    def __init__(self, template: Transport, clock: Clock) -> None:
        self.template = template
        self.clock = clock
        self._sessions: dict[object, Session] = {}
        self._locks: dict[object, Lock] = {}

    def opened(self) -> Session | None:
        """The session of this event loop, where there is one."""
        return self._sessions.get(current_loop().key)

    async def session(self) -> Session:
        """The session of this event loop, opened if need be. Raises as ``Transport.open`` does."""
        session = self.opened()
        if session is not None:
            return session
        key = current_loop().key
        async with self._locks.setdefault(key, Lock()):
            if key not in self._sessions:
                transport = self.template.clone()
                await transport.open()
                self._sessions[key] = Session(transport)
        return self._sessions[key]

    async def close(self) -> None:
        """Close this event loop's session; the next use opens a new one."""
        key = current_loop().key
        self._locks.pop(key, None)
        session = self._sessions.pop(key, None)
        if session is not None:
            await session.transport.close()

    async def failure(self) -> str | None:
        """Why the broker does not answer now, or ``None`` where it does."""
        try:
            await (await self.session()).transport.ping()
        except BrokerConnectionError as error:
            return str(error)
        return None
