"""Heartbeats of workers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from chicory.clock import Clock
from chicory.transport import WorkerRecord, seen_at
from chicory_nats.ballast import Ballast
from chicory_nats.headers import ROLLUP, lifetime
from chicory_nats.names import token
from chicory_nats.reading import Stored
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing

_REFILL = 60.0


class _Beat(Struct, array_like=True):
    """By the clock of the worker: only the time between the two counts for others."""

    worker_id: str
    queues: tuple[str, ...]
    body: bytes
    beat_at: float
    expires_at: float


class Workers:
    """One message for each worker, which the server deletes when it is too old."""

    def __init__(self, session: Session, ballast: Ballast) -> None:
        self._session = session
        self._ballast = ballast
        self._refilled = time.monotonic()

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a heartbeat; ``ttl <= 0``: remove the worker. Takes in ballast that was lost."""
        subject = self._session.subjects.worker(token(record.worker_id).encode())
        if ttl <= 0:
            await self._session.purge(subject)
            return
        now = time.time()
        beat = _Beat(record.worker_id, record.queues, record.body, now, now + ttl)
        message = Outgoing(subject, ROLLUP + lifetime(ttl), msgspec.msgpack.encode(beat))
        self._session.measure([message])
        await self._session.insist([message])
        if time.monotonic() > self._refilled + _REFILL:
            self._refilled = time.monotonic()
            await self._ballast.take_in()

    async def all(self, clock: Clock) -> Sequence[WorkerRecord]:
        """The heartbeats that are stored and not over, by worker id, with times by a clock."""
        everyone = self._session.subjects.worker(b"*")
        beats = [_read(stored) async for stored in self._session.reader.scan(everyone)]
        now = self._session.clock.now()
        alive = (beat for beat in beats if beat.expires_at > now)
        return seen_at(clock.now(), sorted(alive, key=lambda beat: beat.worker_id), now)


def _read(stored: Stored) -> WorkerRecord:
    beat = _decoder.decode(stored.body)
    at = stored.stored_at
    ttl = beat.expires_at - beat.beat_at
    return WorkerRecord(beat.worker_id, beat.queues, beat.body, at, at + ttl)


_decoder = msgspec.msgpack.Decoder(_Beat)
