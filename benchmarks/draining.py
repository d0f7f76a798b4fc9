"""Errands of child processes: fill a queue, and empty it."""

from __future__ import annotations

import sys
import time

import anyio
from anyio import to_thread

from benchmarks.footprint import resident
from benchmarks.job import Figures, Job
from benchmarks.processor import spent
from benchmarks.workload import MANY, Workload, workload
from chicory import Worker


async def fill(job: Job) -> Figures:
    """Put calls on the queue."""
    async with workload(job.url).app:
        await workload(job.url).send(job, job.count, MANY)
    return {}


async def enqueue(job: Job) -> Figures:
    """Rates of enqueuing, nobody consuming."""
    load = workload(job.url)
    async with load.app:
        await load.send(job, 100, 1)
        return {
            "enqueue single": job.count / await load.send(job, job.count, 1),
            "enqueue 32": 4 * job.count / await load.send(job, 4 * job.count, 32),
            "enqueue bulk": 16 * job.count / await load.send(job, 16 * job.count, MANY),
        }


async def drain(job: Job) -> Figures:
    """From the start of a worker on a full queue to its end, when all results are durable."""
    load = workload(job.url)
    async with load.app:
        await load.send(job, job.count, MANY)
        worker = load.worker(job.concurrency)
        begin, busy, served = time.perf_counter(), time.process_time(), spent(job.server)
        async with worker:
            await _processed(worker, job.count)
        seconds, busy = time.perf_counter() - begin, time.process_time() - busy
        served = spent(job.server) - served
        await _check_empty(load)
    return {
        "drain": job.count / seconds,
        "drain cpu": 1e6 * busy / job.count,
        **({"server cpu": 1e6 * served / job.count} if served else {}),
    }


async def partake(job: Job) -> Figures:
    """Help to drain a queue that another process has filled; the moments of begin and end."""
    load = workload(job.url)
    async with load.app:
        print("ready", flush=True)
        await to_thread.run_sync(sys.stdin.read)
        begin = end = time.monotonic()
        async with load.worker(job.concurrency) as worker:
            done = 0
            while (now := worker.get_stats().tasks_processed) > done or not await _empty(load):
                if now > done:
                    done, end = now, time.monotonic()
                await anyio.sleep(0.01)
    return {"begin": begin, "end": end, "done": done}


async def soak(job: Job) -> Figures:
    """The memory of a worker that runs what another process has put on the queue."""
    load = workload(job.url)
    begin = resident()
    async with load.app:
        async with load.worker(job.concurrency) as worker:
            await _processed(worker, job.count // 4)
            warm = resident()
            await _processed(worker, job.count)
            end = resident()
        await _check_empty(load)
    return {"rss start": begin, "rss quarter": warm, "rss end": end, "rss growth": end - warm}


async def _processed(worker: Worker, count: int) -> None:
    # a task that told of its end would cost time, too
    while worker.get_stats().tasks_processed < count:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def _empty(load: Workload) -> bool:
    return not (await load.app.broker.counts(["default"]))["default"].ready


async def _check_empty(load: Workload) -> None:
    counts = (await load.app.broker.counts(["default"]))["default"]
    if counts.ready or counts.leased or counts.dead:
        raise RuntimeError(f"this measurement is void, work was left over: {counts}")
