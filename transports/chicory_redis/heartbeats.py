"""Heartbeats of workers."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import msgpack

from chicory.clock import Clock
from chicory.transport import WorkerRecord, seen_at
from chicory_redis import times
from chicory_redis.server import Server

_decoder = msgpack.Decoder(tuple[tuple[str, ...], bytes])


async def beat(server: Server, record: WorkerRecord, ttl: float) -> None:
    """Store a heartbeat, or remove the worker."""
    packed = msgpack.encode((record.queues, record.body))
    await server.run("beat", record.worker_id, times.span(ttl) if ttl > 0 else 0, packed)


async def every(server: Server, clock: Clock) -> Sequence[WorkerRecord]:
    """All workers by id, with times by a clock."""
    (seconds, microseconds), answer = await server.run("workers")
    workers = map(_decode, answer[::2], answer[1::2])
    ordered = sorted(workers, key=lambda worker: worker.worker_id)
    return seen_at(clock.now(), ordered, int(seconds) + int(microseconds) / 1e6)


def _decode(worker_id: bytes, stored: bytes) -> WorkerRecord:
    beat_at, expires_at, packed = stored.split(b" ", 2)
    queues, body = _decoder.decode(packed)
    return WorkerRecord(worker_id.decode(), queues, body, int(beat_at) / 1e6, int(expires_at) / 1e6)
