"""What child processes do. Each errand is named in a ``Job`` and answers with its figures."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from anyio import to_thread

from benchmarks.footprint import cpu_share, resident
from benchmarks.job import Figures, Job
from benchmarks.processor import spent
from benchmarks.spread import percentile
from benchmarks.workload import MANY, Workload, workload
from chicory import AsyncResult, Worker

_SETTLING_DOWN = 1.0
_APART = (0.03, 0.2)
"""Seconds between the moments that two delayed tasks are due."""
_PAUSES = (0.01, 0.05)
"""Seconds between two calls of which each is to find everybody asleep."""


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


async def _processed(worker: Worker, count: int) -> None:
    # a task that told of its end would cost time, too
    while worker.get_stats().tasks_processed < count:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def _check_empty(load: Workload) -> None:
    counts = (await load.app.broker.counts(["default"]))["default"]
    if counts.ready or counts.leased or counts.dead:
        raise RuntimeError(f"this measurement is void, work was left over: {counts}")


async def _empty(load: Workload) -> bool:
    return not (await load.app.broker.counts(["default"]))["default"].ready


ERRANDS: Mapping[str, Callable[[Job], Awaitable[Figures]]] = {
    errand.__name__: errand
    for errand in (
        *(fill, enqueue, drain, partake, soak, idle),
        *(serve, echo, echo_alone, delay, strand),
    )
}


def run(job: Job) -> Figures:
    """Do the errand on its event loop."""
    backend = "trio" if job.loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if job.loop == "uvloop" else {}
    return anyio.run(partial(ERRANDS[job.errand], job), backend=backend, backend_options=options)
