"""Errands of child processes: put something in the way of the calls that are measured."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import repeat

import anyio

from benchmarks.job import Figures, Job
from benchmarks.workload import Workload, workload
from chicory import TaskResult, TaskState
from chicory.bulk import Refused
from chicory.message import new_id
from chicory.record import encode
from chicory.sender import Call
from chicory.transport import Record

_AT_ONCE = 2
"""Batches under way: one is made while another one is stored."""
_SOONEST, _LATEST = 3600.0, 86_400.0
"""Seconds until what is delayed is due: long after the measurement."""


async def lade(job: Job) -> Figures:
    """Add calls that wait, calls that are due another day, or results."""
    load = workload(job)
    lay = _results if job.ballast == "results" else _calls
    begin = time.monotonic()
    async with load.app, anyio.create_task_group() as group:
        for part in range(_AT_ONCE):
            group.start_soon(lay, load, job, len(range(part, job.count, _AT_ONCE)))
    return {"seconds": time.monotonic() - begin}


async def _calls(load: Workload, job: Job, count: int) -> None:
    calls = repeat(load.noop.call(), count) if job.ballast == "queued" else _delayed(load, count)
    async for one in load.app.enqueue_many(calls):
        if isinstance(one, Refused):
            raise one.error


def _delayed(load: Workload, count: int) -> Iterator[Call[None]]:
    for _ in range(count):
        yield load.noop.options(delay=random.uniform(_SOONEST, _LATEST)).call()


async def _results(load: Workload, _: Job, count: int) -> None:
    transport = (await load.app.broker_link.session()).transport
    worker = new_id()
    batch = load.app.broker.bulk
    for first in range(0, count, batch):
        many = min(batch, count - first)
        await transport.store([_record(worker, load.app.result_ttl) for _ in range(many)])


def _record(worker: str, ttl: float) -> Record:
    now = time.time()
    result = TaskResult(
        task_id=new_id(),
        state=TaskState.SUCCESS,
        name="noop",
        started_at=now,
        finished_at=now,
        worker_id=worker,
    )
    return Record(result.task_id, encode(result), ttl)
