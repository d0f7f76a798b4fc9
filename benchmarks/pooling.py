"""An errand of child processes: tasks in processes of their own, and a standard pool, in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from statistics import median

from anyio import to_thread

from benchmarks.busy import spin
from benchmarks.job import Figures, Job
from chicory import Chicory, Worker, WorkerConfig

_TURNS = 6
_PROCESSES = 2
_KINDS: dict[str, tuple[str, Callable[[float], None]]] = {
    "1 ms in processes": ("nap_apart", time.sleep),
    "1 ms of cpu in processes": ("spin_apart", spin),
}


async def processes(job: Job) -> Figures:
    """Tasks of 1 ms by a worker with warm processes, and their share of what a warm pool does.

    Both have as many processes, and all calls of a turn in flight at once; both clocks run from
    before the first call is submitted until the last result is there.
    """
    os.environ["CHICORY_BROKER_URL"] = job.url
    app: Chicory = import_module("benchmarks.apart").app
    found: Figures = {}
    worker = Worker(app, WorkerConfig(processes=_PROCESSES, concurrency=job.concurrency))
    async with app:
        await worker.start()
        with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
            for name, (task, function) in _KINDS.items():
                found |= await _compare(job, app, pool, name, task, function)
        await worker.stop()
    return found


async def _compare(
    job: Job,
    app: Chicory,
    pool: ProcessPoolExecutor,
    name: str,
    task: str,
    function: Callable[[float], None],
) -> Figures:
    ours: list[float] = []
    theirs: list[float] = []
    count = max(2, job.count // _TURNS)
    for turn in range(_TURNS + 1):
        mine = await _call(app, task, job.nap, count)
        other = await to_thread.run_sync(_submit, pool, function, job.nap, count)
        if turn:  # the first one starts processes
            ours.append(mine)
            theirs.append(other)
    return {
        name: count / median(ours),
        f"{name}, pool": count / median(theirs),
        f"{name}, share": median(b / a for a, b in zip(ours, theirs, strict=True)),
    }


async def _call(app: Chicory, task: str, nap: float, count: int) -> float:
    call = app.get_task(f"benchmarks.apart.{task}").call
    begin = time.perf_counter()
    await app.gather(await app.enqueue_many(call(nap) for _ in range(count)))
    return time.perf_counter() - begin


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[float], None], nap: float, count: int
) -> float:
    begin = time.perf_counter()
    for future in [pool.submit(function, nap) for _ in range(count)]:
        future.result()
    return time.perf_counter() - begin
