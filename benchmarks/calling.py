"""An errand of child processes: the same calls with an event loop and without one, in turn."""

from __future__ import annotations

import time
from statistics import median

from anyio import to_thread

from benchmarks.job import Figures, Job
from benchmarks.workload import Workload, workload

_TURNS = 10
_WARMING_UP = 100


async def sync(job: Job) -> Figures:
    """Calls of ``send_sync`` by one thread, and their share of what ``await send`` does."""
    load = workload(job)
    count = max(1, job.count // _TURNS)
    awaited: list[float] = []
    blocked: list[float] = []
    async with load.app:
        await load.send(job, _WARMING_UP, 1)
        await to_thread.run_sync(_send, load, _WARMING_UP)
        for _ in range(_TURNS):
            awaited.append(await load.send(job, count, 1))
            blocked.append(await to_thread.run_sync(_send, load, count))
    shares = [mine / theirs for mine, theirs in zip(awaited, blocked, strict=True)]
    return {"send_sync": count / median(blocked), "send_sync share": median(shares)}


def _send(load: Workload, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        load.noop.send_sync()
    return time.perf_counter() - begin
