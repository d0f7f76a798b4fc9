"""The errands of ``benchmarks.errands``, for any ``Queue``: told in JSON, answered in JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace as Job
from typing import TypeAlias

from benchmarks import pressing
from benchmarks.arguments import arguments
from benchmarks.echoing import echoes
from benchmarks.footprint import cpu_share, resident
from benchmarks.peers.queue import Queue
from benchmarks.peers.work import TALLY
from benchmarks.processor import Span, spent

Figures: TypeAlias = dict[str, float]

_SETTLING_DOWN = 1.0
_GLANCE = 0.01
_LIMIT = 60.0
_QUIET = 3.0
"""Seconds without a task that tell that none are left: longer than anybody's polls are apart."""


async def fill(queue: Queue, job: Job) -> Figures:
    """Put calls on the queue."""
    await queue.send_many(job.count, job.task, *arguments(job.task, job.nap))
    return {}


async def drain(queue: Queue, job: Job) -> Figures:
    """From the first task that runs to the last one: what starting takes is not counted."""
    await queue.send_many(job.count, job.task, *arguments(job.task, job.nap))
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


async def partake(queue: Queue, job: Job) -> Figures:
    """Help to drain a queue that another process has filled: from one's first task to the last."""
    TALLY.expect(job.count)
    print("ready", flush=True)
    await _input_ended()
    async with _working(queue):
        seen, at = 0, time.monotonic()
        while time.monotonic() < at + _QUIET:
            await asyncio.sleep(_GLANCE)
            if (now := TALLY.ran()) > seen:
                seen, at = now, time.monotonic()
    begin = TALLY.begin[0] or at
    return {"begin": begin, "end": at, "done": seen}


async def soak(queue: Queue, job: Job) -> Figures:
    """The memory of a worker that runs what another process has put on the queue."""
    begin = resident()
    TALLY.expect(job.count)
    async with _working(queue):
        await _until_ran(job.count // 4)
        warm = resident()
        await _until_ran(job.count)
        end = resident()
    return {"rss start": begin, "rss quarter": warm, "rss end": end, "rss growth": end - warm}


async def enqueue(queue: Queue, job: Job) -> Figures:
    """Rates of enqueuing, nobody consuming."""
    await queue.at_once(1, 50, "noop")
    single = await _timed(queue.at_once(1, job.count, "noop"))
    several = await _timed(queue.at_once(32, 4 * job.count, "noop"))
    span = Span(job.server)
    bulk = await _timed(queue.send_many(4 * job.count, "noop"))
    span.end()
    return {
        "enqueue single": job.count / single,
        "enqueue 32": 4 * job.count / several,
        "enqueue bulk": 4 * job.count / bulk,
        **span.costs(4 * job.count, "enqueue cpu", "enqueue server cpu"),
    }


async def idle(queue: Queue, job: Job) -> Figures:
    """The CPU time of a worker that waits."""
    async with _working(queue):
        await asyncio.sleep(_SETTLING_DOWN)
        return {"idle cpu": await cpu_share(job.seconds, asyncio.sleep)}


async def serve(queue: Queue, _job: Job) -> Figures:
    """Work until standard input is closed."""
    async with _working(queue):
        print("ready", flush=True)
        await _input_ended()
    return {}


async def echo(queue: Queue, job: Job) -> Figures:
    """Latencies of single calls, with a worker in another process."""

    async def ask(begin: float) -> float:
        return await asyncio.wait_for(queue.ask("since", begin), _LIMIT)

    return await echoes(ask, asyncio.sleep, job.count, job.seconds, job.pauses)


async def press(queue: Queue, job: Job) -> Figures:
    """Enqueue no-ops at a rate until standard input is closed."""
    return await pressing.press(
        lambda count: queue.send_many(count, "noop"), asyncio.sleep, job.rate
    )


async def strand(queue: Queue, job: Job) -> Figures:
    """Enqueue a task that does not end."""
    await queue.send("strand", job.path)
    return {}


_ERRANDS: dict[str, Callable[[Queue, Job], Awaitable[Figures]]] = {
    errand.__name__: errand
    for errand in (fill, drain, partake, soak, enqueue, idle, serve, echo, press, strand)
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


async def _input_ended() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _until_ran(count: int) -> None:
    while TALLY.ran() < count:  # noqa: ASYNC110
        await asyncio.sleep(_GLANCE)


async def _timed(work: Awaitable[None]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin
