"""What a worker says of itself in its heartbeat."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from chicory import codec
from chicory.errors import MessageError
from chicory.health import BackendStatus, BrokerStatus
from chicory.transport import WorkerRecord


class RunningTask(Struct, frozen=True):
    """A call that a worker runs now: its task, its id, and since when (epoch seconds)."""

    name: str
    task_id: str
    since: float


class WorkerStats(Struct, kw_only=True):
    """Statistics of one worker.

    Attributes:
        worker_id: unique for each start.
        hostname: where it runs.
        pid: its process.
        queue: the queue consumed; several with commas between them.
        queues: the queues consumed.
        concurrency: tasks that may run at once.
        tasks_processed: attempts that came to an end, failed ones included.
        tasks_failed: attempts that failed, whether or not they are retried.
        active_tasks: attempts that run now.
        started_at: begin of the worker.
        last_heartbeat: the latest heartbeat stored.
        is_running: False in the last heartbeat of a worker that stopped.
        broker: whether the broker answered when asked.
        backend: whether the backend answered when asked.
        running: what runs now, at most 100 of it.
        loop_lag: seconds that the event loop took to answer, last time.
    """

    worker_id: str
    hostname: str
    pid: int
    queue: str
    concurrency: int
    tasks_processed: int = 0
    tasks_failed: int = 0
    active_tasks: int = 0
    started_at: datetime = datetime.fromtimestamp(0, UTC)
    last_heartbeat: datetime | None = None
    is_running: bool = True
    broker: BrokerStatus | None = None
    backend: BackendStatus | None = None
    running: list[RunningTask] = []
    loop_lag: float = 0.0
    queues: list[str] = []

    @property
    def status(self) -> Literal["running", "stopped"]:
        """``stopped`` in the last heartbeat of a worker that stopped."""
        return "running" if self.is_running else "stopped"

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the worker started."""
        return max(0.0, time.time() - self.started_at.timestamp())


_decoder = msgspec.msgpack.Decoder(WorkerStats)


def encode(stats: WorkerStats) -> bytes:
    """The body of a heartbeat."""
    return msgspec.msgpack.encode(stats)


def has_stopped(record: WorkerRecord) -> bool:
    """Whether this is the last heartbeat of a worker that stopped."""
    try:
        return not read(record).is_running
    except MessageError:
        return False


def read(record: WorkerRecord) -> WorkerStats:
    """The statistics in a heartbeat. Raises ``MessageError``."""
    try:
        stats = _decoder.decode(record.body)
    except codec.DECODE_ERRORS as error:
        raise MessageError(f"heartbeat of {record.worker_id} cannot be read: {error}") from error
    stats.last_heartbeat = datetime.fromtimestamp(record.beat_at, UTC)
    return stats
