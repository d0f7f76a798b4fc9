"""What a worker is at a moment, in numbers."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime

from chicory.stats import RunningTask, WorkerStats
from chicory.worker.shift import Shift
from chicory.worker.tally import Tally

SHOWN = 100
"""Running tasks that a heartbeat names."""


def portray(
    worker_id: str,
    queues: Sequence[str],
    concurrency: int,
    started_at: datetime,
    tally: Tally,
    shift: Shift | None,
) -> WorkerStats:
    """The statistics of a worker; from any thread."""
    running = shift.running if shift is not None else []
    return WorkerStats(
        worker_id=worker_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        queue=",".join(queues),
        queues=list(queues),
        concurrency=concurrency,
        tasks_processed=tally.processed,
        tasks_failed=tally.failed,
        active_tasks=len(running),
        started_at=started_at,
        running=[RunningTask(a.name, a.delivery.task_id, a.started_at) for a in running[:SHOWN]],
    )
