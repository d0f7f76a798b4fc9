"""The tasks that are run: next to no work, so that what is seen is the queue's own cost."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from msgspec import Struct

from benchmarks.arguments import arguments
from benchmarks.busy import spin
from benchmarks.job import Job
from chicory import (
    AsyncResult,
    Call,
    Chicory,
    ChicoryConfig,
    RetryPolicy,
    TaskContext,
    TaskMessage,
    Worker,
    WorkerConfig,
)
from chicory.task import AsyncTask, SyncTask

MANY = 256
"""Concurrent callers that make up a bulk: nobody can send more in one round trip."""

_AT_ONCE = RetryPolicy(max_retries=1, retry_delay=0)


class Workload(Struct, frozen=True):
    """An app and its tasks.

    Attributes:
        app: the app.
        queue: where its calls go.
        noop: does nothing and returns nothing; its result is stored.
        plain: the same in a thread.
        spin: takes so many seconds of a processor's time.
        plain_spin: the same in a thread.
        fail: raises.
        falter: raises the first time, and is retried at once.
        nap: waits for so many seconds.
        blob: returns the length of its argument.
        since: given a time, returns the seconds from then to its own begin.
        strand: writes its begin into a file; the first one to do so never comes to an end.
    """

    app: Chicory
    queue: str
    noop: AsyncTask[[], None]
    plain: SyncTask[[], None]
    spin: AsyncTask[[float], None]
    plain_spin: SyncTask[[float], None]
    fail: AsyncTask[[], None]
    falter: AsyncTask[[], None]
    nap: AsyncTask[[float], None]
    blob: AsyncTask[[str], int]
    since: AsyncTask[[float], float]
    strand: AsyncTask[[str], None]

    def worker(self, concurrency: int) -> Worker:
        """A worker for it."""
        return Worker(self.app, WorkerConfig(concurrency=concurrency, queue=self.queue))

    async def send(self, job: Job, count: int, callers: int) -> float:
        """Enqueue the job's task by that many callers at once; seconds until all are durable."""
        enqueue = self._caller(job)

        async def call(times: int) -> None:
            for _ in range(times):
                await enqueue()

        begin = time.perf_counter()
        async with anyio.create_task_group() as group:
            for caller in range(callers):
                group.start_soon(call, len(range(caller, count, callers)))
        return time.perf_counter() - begin

    async def send_many(self, job: Job, count: int) -> float:
        """The same in the way that is meant for many: by ``enqueue_many``."""
        call = self._call(job)
        begin = time.perf_counter()
        await self.app.enqueue_many(call() for _ in range(count))
        return time.perf_counter() - begin

    async def later(self, seconds: float) -> AsyncResult[float]:
        """Have ``since`` run in so many seconds, asked for the time that it is late."""
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        moment = time.monotonic() + seconds
        message = TaskMessage(id=uuid4().hex, name=self.since.name, args=[moment], eta=due)
        return self.app.result(await self.app.broker.publish(message, self.queue))

    def _call(self, job: Job) -> Callable[[], Call[Any]]:
        return partial(self.app.get_task(job.task).call, *arguments(job.task, job.nap))

    def _caller(self, job: Job) -> Callable[[], Awaitable[str]]:
        return partial(self.app.get_task(job.task).send, *arguments(job.task, job.nap))


def workload(job: Job) -> Workload:
    """The workload on the broker and the queue of that job."""
    app = Chicory(job.url, config=ChicoryConfig())
    named = partial(app.task, queue=job.queue)
    return Workload(
        app=app,
        queue=job.queue,
        noop=named(name="noop")(_noop),
        plain=named(name="plain")(_plain),
        spin=named(name="spin")(_spin),
        plain_spin=named(name="plain_spin")(spin),
        fail=named(name="fail")(_fail),
        falter=named(name="falter", retry_policy=_AT_ONCE)(_falter),
        nap=named(name="nap")(anyio.sleep),
        blob=named(name="blob")(_blob),
        since=named(name="since")(_since),
        strand=named(name="strand")(_strand),
    )


async def _noop() -> None:
    pass


def _plain() -> None:
    pass


async def _spin(seconds: float) -> None:
    spin(seconds)


async def _fail() -> None:
    raise ValueError("as it was told to")


async def _falter(ctx: TaskContext) -> None:
    if not ctx.retries:
        raise ValueError("as it was told to, once")


async def _blob(body: str) -> int:
    return len(body)


async def _since(moment: float) -> float:
    # one clock for all processes of a machine
    return time.monotonic() - moment


async def _strand(path: str) -> None:
    async with await anyio.open_file(path, "a+", encoding="ascii") as marks:
        await marks.seek(0)
        first = not await marks.read()
        await marks.write(f"{time.monotonic()}\n")
    if first:
        await anyio.sleep_forever()
