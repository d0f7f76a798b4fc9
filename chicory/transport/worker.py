"""A worker that lives."""

from __future__ import annotations

from msgspec import Struct


class WorkerRecord(Struct, frozen=True):
    """A worker's heartbeat.

    Attributes:
        worker_id: unique for each start of a worker.
        queues: what it consumes.
        body: the encoded statistics, opaque.
        beat_at: when it was stored; set by the transport.
        expires_at: from when on the worker counts as dead; set by the transport.
    """

    worker_id: str
    queues: tuple[str, ...]
    body: bytes
    beat_at: float = 0.0
    expires_at: float = 0.0
