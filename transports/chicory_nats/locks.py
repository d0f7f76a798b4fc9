"""A lock on a queue as a whole, kept in the stream, and the stillness that it is taken for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from chicory_nats.connection import TIMEOUT
from chicory_nats.consumers import FOREVER, Consumers
from chicory_nats.headers import OPERATION, PAUSED, expect, lifetime, line
from chicory_nats.session import Session
from chicory_nats.ticket import fresh
from chicory_nats.wire import Outgoing

_HELD = 15.0
_PAUSE = 0.01
_STILL = 12.0
"""Seconds: more than the requests made in it can take."""


class Lock:
    """Held by one client at a time, for ``_HELD`` seconds at most."""

    def __init__(self, session: Session, queue: bytes) -> None:
        self._session = session
        self._queue = queue
        self._seq = 0

    async def __aenter__(self) -> Self:
        subject, name = self._session.subjects.lock(self._queue), fresh()
        end = time.monotonic() + TIMEOUT
        expected = 0
        while True:
            headers = expect(expected, subject) + lifetime(_HELD + 1) + line(OPERATION, name)
            (self._seq,) = await self._session.insist([Outgoing(subject, headers)])
            if self._seq:
                return self
            expected = 0
            for held in await self._session.reader.last([subject]):
                if held.headers.get(OPERATION) == name:
                    self._seq = held.seq
                    return self
                if held.stored_at + _HELD < self._session.clock.now():
                    expected = held.seq
            if time.monotonic() > end:
                raise self._session.connection.unreachable()
            await asyncio.sleep(_PAUSE)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.delete([self._seq])

    @asynccontextmanager
    async def still(self, consumers: Consumers, *levels: int) -> AsyncGenerator[None]:
        """Have nothing of the queue, or of these levels of it, delivered meanwhile."""
        note = self._session.subjects.queue(self._queue)
        # who holds the lock is the only one who may pause the queue for good
        notes, _ = await asyncio.gather(
            self._session.reader.last([note]),
            consumers.pause(self._queue, self._session.clock.now() + _STILL, *levels),
        )
        try:
            yield
        finally:
            paused = any(PAUSED in note.headers for note in notes)
            await consumers.pause(self._queue, FOREVER if paused else 0, *levels)
