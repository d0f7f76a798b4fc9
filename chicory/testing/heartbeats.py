"""The heartbeats of workers."""

from __future__ import annotations

from msgspec.structs import replace

from chicory.transport import WorkerRecord


class Heartbeats:
    """The workers of a store. Guarded by the lock of the store that owns it.

    Attributes:
        by_worker: the latest heartbeat of each, also after its time, until somebody looks.
    """

    def __init__(self) -> None:
        self.by_worker: dict[str, WorkerRecord] = {}

    def beat(self, record: WorkerRecord, ttl: float, now: float) -> None:
        """Store or remove a worker."""
        if ttl > 0:
            self.by_worker[record.worker_id] = replace(record, beat_at=now, expires_at=now + ttl)
        else:
            self.by_worker.pop(record.worker_id, None)

    def alive(self, now: float) -> list[WorkerRecord]:
        """Those that are alive, by id."""
        alive = [one for one in self.by_worker.values() if one.expires_at > now]
        self.by_worker = {one.worker_id: one for one in alive}
        return sorted(alive, key=lambda worker: worker.worker_id)
