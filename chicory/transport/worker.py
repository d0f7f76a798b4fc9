"""A worker that lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

_SAME = 1.0
"""Seconds that clocks may differ by and count as one: to ask for the time takes time, too."""


class WorkerRecord(Struct, frozen=True):
    """A worker's heartbeat.

    Attributes:
        worker_id: unique for each start of a worker.
        queues: what it consumes.
        body: the encoded statistics, opaque.
        beat_at: when it was stored; set by the transport, by the clock of who reads it.
        expires_at: from when on the worker counts as dead; likewise.
    """

    worker_id: str
    queues: tuple[str, ...]
    body: bytes
    beat_at: float = 0.0
    expires_at: float = 0.0


def seen_at(
    now: float, records: Iterable[WorkerRecord], broker_now: float
) -> Sequence[WorkerRecord]:
    """Records with the times of a broker whose clock says ``broker_now``, by one that says ``now``.

    For transports whose broker has a clock of its own: a reader's may be an hour ahead of it.
    """
    behind = now - broker_now
    if abs(behind) < _SAME:
        return list(records)
    return [
        replace(each, beat_at=each.beat_at + behind, expires_at=each.expires_at + behind)
        for each in records
    ]
