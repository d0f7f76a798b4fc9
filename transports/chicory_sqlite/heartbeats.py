"""Heartbeats of workers."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import json

from chicory.transport import WorkerRecord
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("heartbeats")

_REMEMBERED = 3600.0
"""Seconds for which a worker that stopped beating can still be seen."""


def beat(session: Session, record: WorkerRecord, ttl: float) -> None:
    """Store a heartbeat, or remove the worker; forget those long dead."""
    now = session.now()
    if ttl <= 0:
        session.run(_SQL["remove"], (session.ns, record.worker_id))
    else:
        queues = json.encode(record.queues).decode()
        values = (session.ns, record.worker_id, queues, record.body, now, now + ttl)
        session.run(_SQL["put"], values)
    session.run(_SQL["prune"], (session.ns, now - _REMEMBERED))


def every(session: Session) -> Sequence[WorkerRecord]:
    """All workers by id."""
    return [
        WorkerRecord(worker_id, json.decode(queues, type=tuple[str, ...]), body, beat_at, expires)
        for worker_id, queues, body, beat_at, expires in session.rows(_SQL["all"], (session.ns,))
    ]
