"""The errands of ``benchmarks.errands``, for any ``Queue``: told in JSON, answered in JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace as Job
from typing import TypeAlias

from benchmarks.peers.queue import Queue
from benchmarks.peers.work import TALLY
from benchmarks.processor import spent
from benchmarks.spread import percentile

Figures: TypeAlias = dict[str, float]

_SETTLING_DOWN = 1.0
_PAUSES = (0.01, 0.05)
_GLANCE = 0.01
_LIMIT = 60.0
_BLOB = "x" * 10_240


async def drain(queue: Queue, job: Job) -> Figures:
    """From the first task that runs to the last one: what starting takes is not counted."""
    await queue.send_many(job.count, job.task, *_arguments(job))
    TALLY.expect(job.count)
    served = spent(job.server)
    async with _working(queue):
        # to tell of the end would cost a task time, too
        while not TALLY.end[0]:  # noqa: ASYNC110
            await asyncio.sleep(_GLANCE)
    served = spent(job.server) - served
    (begin, idle), (end, busy) = TALLY.begin, TALLY.end
    return {
        "drain": (job.count - 1) / (end - begin),
        "drain cpu": 1e6 * (busy - idle) / (job.count - 1),
        **({"server cpu": 1e6 * served / job.count} if served else {}),
    }


async def enqueue(queue: Queue, job: Job) -> Figures:
    """Rates of enqueuing, nobody consuming."""
    await queue.at_once(1, 50, "noop")
    single = await _timed(queue.at_once(1, job.count, "noop"))
    several = await _timed(queue.at_once(32, 4 * job.count, "noop"))
    bulk = await _timed(queue.send_many(4 * job.count, "noop"))
    return {
        "enqueue single": job.count / single,
        "enqueue 32": 4 * job.count / several,
        "enqueue bulk": 4 * job.count / bulk,
    }


async def idle(queue: Queue, job: Job) -> Figures:
    """The CPU time of a worker that waits."""
    async with _working(queue):
        await asyncio.sleep(_SETTLING_DOWN)
        begin, busy = time.perf_counter(), time.process_time()
        await asyncio.sleep(job.seconds)
        share = (time.process_time() - busy) / (time.perf_counter() - begin)
    return {"idle cpu": 100 * share}


async def serve(queue: Queue, _job: Job) -> Figures:
    """Work until standard input is closed."""
    async with _working(queue):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    return {}


async def echo(queue: Queue, job: Job) -> Figures:
    """Latencies of single calls, with a worker in another process."""
    await asyncio.wait_for(queue.ask("since", 0.0), _LIMIT)
    woken: list[float] = []
    answered: list[float] = []
    for _ in range(job.count):
        await asyncio.sleep(random.uniform(*_PAUSES))
        begin = time.monotonic()
        woken.append(1000 * await asyncio.wait_for(queue.ask("since", begin), _LIMIT))
        answered.append(1000 * (time.monotonic() - begin))
    return {
        "latency p50": percentile(answered, 50),
        "latency p99": percentile(answered, 99),
        "wake-up p50": percentile(woken, 50),
        "wake-up p99": percentile(woken, 99),
        "wake-up max": max(woken),
    }


_ERRANDS: dict[str, Callable[[Queue, Job], Awaitable[Figures]]] = {
    errand.__name__: errand for errand in (drain, enqueue, idle, serve, echo)
}


def perform(make: Callable[[str, int], Queue]) -> None:
    """Do the errand of the command line and end the process."""
    job = Job(**json.loads(sys.argv[1]))
    queue = make(job.url, job.concurrency)
    if queue.uvloop:
        import uvloop  # noqa: PLC0415  # not in every peer's environment

        uvloop.run(_perform(queue, job))
    else:
        asyncio.run(_perform(queue, job))


async def _perform(queue: Queue, job: Job) -> None:
    await queue.open()
    figures = await _ERRANDS[job.errand](queue, job)
    print(json.dumps(figures), flush=True)
    # how long a peer takes to stop is not asked, nor does each of them stop quietly
    os._exit(0)


@contextlib.asynccontextmanager
async def _working(queue: Queue) -> AsyncGenerator[None]:
    worker = asyncio.create_task(queue.work())
    watcher = asyncio.current_task()
    assert watcher is not None

    def fail(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled():
            watcher.cancel(f"the worker ended: {ended.exception()!r}")

    worker.add_done_callback(fail)
    await asyncio.sleep(0)
    yield
    worker.remove_done_callback(fail)
    worker.cancel()


async def _timed(work: Awaitable[None]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


def _arguments(job: Job) -> tuple[object, ...]:
    return {"nap": (job.nap,), "blob": (_BLOB,)}.get(job.task, ())
