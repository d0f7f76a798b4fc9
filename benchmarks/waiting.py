"""Errands of child processes: wait for a task, or for its result."""

from __future__ import annotations

import random
import sys
import time

import anyio
from anyio import to_thread

from benchmarks.footprint import cpu_share
from benchmarks.job import Figures, Job
from benchmarks.spread import percentile
from benchmarks.workload import Workload, workload
from chicory import AsyncResult

_SETTLING_DOWN = 1.0
_PAUSES = (0.01, 0.05)
"""Seconds between two calls of which each is to find everybody asleep."""
_APART = (0.03, 0.2)
"""Seconds between the moments that two delayed tasks are due."""


async def idle(job: Job) -> Figures:
    """The CPU time of a worker that waits."""
    load = workload(job.url)
    async with load.app, load.worker(job.concurrency):
        await anyio.sleep(_SETTLING_DOWN)
        return {"idle cpu": await cpu_share(job.seconds)}


async def serve(job: Job) -> Figures:
    """Work until standard input is closed."""
    load = workload(job.url)
    async with load.app, load.worker(job.concurrency):
        print("ready", flush=True)
        await to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    return {}


async def echo(job: Job) -> Figures:
    """Latencies of single calls, with a worker in another process."""
    load = workload(job.url)
    async with load.app:
        return await _echo(load, job.count)


async def echo_alone(job: Job) -> Figures:
    """The same with the worker in this process."""
    load = workload(job.url)
    async with load.app, load.worker(job.concurrency):
        return await _echo(load, job.count)


async def delay(job: Job) -> Figures:
    """How late delayed tasks begin, with a worker in another process that waits for them."""
    load = workload(job.url)
    async with load.app:
        await (await load.since.delay(0.0)).get(timeout=10)
        due = 0.5
        results: list[AsyncResult[float]] = []
        for _ in range(job.count):
            due += random.uniform(*_APART)
            results.append(await load.later(due))
        late = sorted([1000 * await result.get(timeout=due + 10) for result in results])
    return {
        "late p50": percentile(late, 50),
        "late p99": percentile(late, 99),
        "late max": late[-1],
        "late least": late[0],
    }


async def strand(job: Job) -> Figures:
    """Enqueue a task that does not end."""
    load = workload(job.url)
    async with load.app:
        await load.strand.send(job.path)
    return {}


async def _echo(load: Workload, count: int) -> Figures:
    await (await load.since.delay(0.0)).get(timeout=10)
    woken: list[float] = []
    answered: list[float] = []
    for _ in range(count):
        await anyio.sleep(random.uniform(*_PAUSES))
        begin = time.monotonic()
        result = await load.since.delay(begin)
        woken.append(1000 * await result.get(timeout=10))
        answered.append(1000 * (time.monotonic() - begin))
    return {
        "latency p50": percentile(answered, 50),
        "latency p99": percentile(answered, 99),
        "wake-up p50": percentile(woken, 50),
        "wake-up p99": percentile(woken, 99),
        "wake-up max": max(woken),
    }
