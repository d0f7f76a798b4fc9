"""Errands of child processes: fill a queue, and empty it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

import anyio
from anyio import CancelScope, to_thread

from benchmarks import floor
from benchmarks.footprint import resident
from benchmarks.job import Figures, Job
from benchmarks.processor import Span
from benchmarks.workload import MANY, Workload, workload
from chicory import Worker

_TURNS = 8
_ATTEMPTS = {"falter": 2}


async def fill(job: Job) -> Figures:
    """Put calls on the queue."""
    async with workload(job).app:
        await workload(job).send(job, job.count, MANY)
    return {}


async def enqueue(job: Job) -> Figures:
    """Rates of enqueuing, nobody consuming; on SQLite also those of its rows alone."""
    figures = await add(job)
    if job.url.startswith("sqlite"):
        batch = workload(job).app.broker.bulk
        figures |= floor.insert_again(urlsplit(job.url).path[1:], batch)
    return figures


async def add(job: Job) -> Figures:
    """Rates of adding to a queue that may be long: in each way by turns, all on one file or server.

    What one way leaves to be done later, as a checkpoint of SQLite's, is borne by all of them so.
    """
    load = workload(job)
    count = max(1, job.count // _TURNS)
    singles, several, bulks = list[float](), list[float](), list[float]()
    span = Span(job.server)
    async with load.app:
        await load.send(job, 100, 1)
        for _ in range(_TURNS):
            singles.append(await load.send(job, count, 1))
            several.append(await load.send(job, 4 * count, 32))
            span.begin()
            bulks.append(await load.send_many(job, 16 * count))
            span.end()
    return {
        "enqueue single": count * _TURNS / sum(singles),
        "enqueue 32": 4 * count * _TURNS / sum(several),
        "enqueue bulk": 16 * count * _TURNS / sum(bulks),
        "bulk to single": 16 * _ratio(singles, bulks),
        "bulk to 32": 4 * _ratio(several, bulks),
        **span.costs(16 * count * _TURNS, "enqueue cpu", "enqueue server cpu"),
    }


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median of the turns' ratios."""
    return median(this / that for this, that in zip(these, those, strict=True))


async def drain(job: Job) -> Figures:
    """From the start of a worker on a full queue to its end, when all results are durable."""
    load = workload(job)
    async with load.app:
        await load.send(job, job.count, MANY)
        worker = load.worker(job.concurrency)
        span = Span(job.server)
        async with worker:
            await _processed(worker, job.count * _ATTEMPTS.get(job.task, 1))
        span.end()
        await _check_empty(load, dead=job.count if job.task == "fail" else 0)
    return {
        "drain": job.count / span.seconds,
        **span.costs(job.count, "drain cpu", "server cpu"),
    }


async def sip(job: Job) -> Figures:
    """As many calls as this adds to a queue that may be far longer, and then no more."""
    load = workload(job)
    async with load.app:
        await load.send(job, job.count, MANY)
        worker = load.worker(job.concurrency)
        span = Span(job.server)
        async with worker:
            await _processed(worker, job.count)
        span.end()
        done = worker.get_stats().tasks_processed
    return {
        "drain": done / span.seconds,
        **span.costs(done, "drain cpu", "server cpu"),
        "rss": resident(),
    }


async def partake(job: Job) -> Figures:
    """Help to drain a queue that another process has filled; the moments of begin and end."""
    load = workload(job)
    async with load.app:
        print("ready", flush=True)
        await to_thread.run_sync(sys.stdin.read)
        begin = end = time.monotonic()
        async with load.worker(job.concurrency) as worker:
            done = 0
            while (now := worker.get_stats().tasks_processed) > done or not await _finished(load):
                if now > done:
                    done, end = now, time.monotonic()
                await anyio.sleep(0.01)
    return {"begin": begin, "end": end, "done": done}


async def soak(job: Job) -> Figures:
    """The memory of a worker that runs what another process has put on the queue."""
    load = workload(job)
    begin = resident()
    async with load.app:
        async with load.worker(job.concurrency) as worker:
            await _processed(worker, job.count // 4)
            warm = resident()
            await _processed(worker, job.count)
            end = resident()
        await _check_empty(load, dead=job.count if job.task == "fail" else 0)
    return {"rss start": begin, "rss quarter": warm, "rss end": end, "rss growth": end - warm}


async def soak_waits(job: Job) -> Figures:
    """The memory of a process whose waits for results are cancelled, each of them."""
    load = workload(job)
    async with load.app:
        async with load.worker(job.concurrency) as worker:
            await _give_up_waiting(load, job.count // 4)
            await _processed(worker, job.count // 4)
            warm = resident()
            await _give_up_waiting(load, job.count - job.count // 4)
            await _processed(worker, job.count)
            end = resident()
        await _check_empty(load)
    return {"rss quarter": warm, "rss end": end, "rss growth": end - warm}


async def _give_up_waiting(load: Workload, count: int) -> None:
    async def call(times: int) -> None:
        for _ in range(times):
            result = await load.noop.delay()
            with CancelScope() as scope:
                scope.cancel()
                await result.get()

    async with anyio.create_task_group() as group:
        for caller in range(MANY):
            group.start_soon(call, len(range(caller, count, MANY)))


async def _processed(worker: Worker, count: int) -> None:
    # a task that told of its end would cost time, too
    while worker.get_stats().tasks_processed < count:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def _finished(load: Workload) -> bool:
    counts = (await load.app.broker.counts([load.queue]))[load.queue]
    return not counts.ready and not counts.leased


async def _check_empty(load: Workload, dead: int = 0) -> None:
    counts = (await load.app.broker.counts([load.queue]))[load.queue]
    if counts.ready or counts.leased or counts.dead != dead:
        raise RuntimeError(f"this measurement is void, work was left over: {counts}")
