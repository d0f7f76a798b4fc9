"""Errands of child processes: wait for a task, or for its result."""

from __future__ import annotations

import random
import sys

import anyio
from anyio import to_thread

from benchmarks import pressing
from benchmarks.echoing import echoes
from benchmarks.footprint import cpu_share
from benchmarks.job import Figures, Job
from benchmarks.spread import told
from benchmarks.workload import Workload, workload
from chicory import AsyncResult

_SETTLING_DOWN = 1.0
_APART = (0.03, 0.2)
"""Seconds between the moments that two delayed tasks are due."""


async def idle(job: Job) -> Figures:
    """The CPU time of a worker that waits."""
    load = workload(job)
    async with load.app, load.worker(job.concurrency):
        await anyio.sleep(_SETTLING_DOWN)
        return {"idle cpu": await cpu_share(job.seconds, anyio.sleep)}


async def serve(job: Job) -> Figures:
    """Work until standard input is closed."""
    load = workload(job)
    async with load.app, load.worker(job.concurrency):
        print("ready", flush=True)
        await to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    return {}


async def echo(job: Job) -> Figures:
    """Latencies of single calls, with a worker in another process."""
    load = workload(job)
    async with load.app:
        return await _echo(load, job)


async def echo_alone(job: Job) -> Figures:
    """The same with the worker in this process."""
    load = workload(job)
    async with load.app, load.worker(job.concurrency):
        return await _echo(load, job)


async def delay(job: Job) -> Figures:
    """How late delayed tasks begin, with a worker in another process that waits for them."""
    load = workload(job)
    async with load.app:
        await (await load.since.delay(0.0)).get(timeout=10)
        due = 0.5
        results: list[AsyncResult[float]] = []
        for _ in range(job.count):
            due += random.uniform(*_APART)
            results.append(await load.later(due))
        late = sorted([1000 * await result.get(timeout=due + 10) for result in results])
    return {
        **told("late", late),
        "late max": late[-1],
        "late least": late[0],
    }


async def press(job: Job) -> Figures:
    """Enqueue no-ops at a rate until standard input is closed."""
    load = workload(job)
    async with load.app:

        async def send(count: int) -> None:
            await load.send(job, count, count)

        return await pressing.press(send, anyio.sleep, job.rate)


async def strand(job: Job) -> Figures:
    """Enqueue a task that does not end."""
    load = workload(job)
    async with load.app:
        await load.strand.send(job.path)
    return {}


async def _echo(load: Workload, job: Job) -> Figures:
    async def ask(begin: float) -> float:
        return await (await load.since.delay(begin)).get(timeout=10)

    return await echoes(ask, anyio.sleep, job.count, job.seconds, job.pauses)
