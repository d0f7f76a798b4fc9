"""The tasks that are run: next to no work, so that what is seen is the queue's own cost."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
from msgspec import Struct

from benchmarks.job import Job
from chicory import AsyncResult, Chicory, ChicoryConfig, TaskMessage, Worker, WorkerConfig
from chicory.task import AsyncTask, SyncTask

MANY = 256
"""Concurrent callers that make up a bulk: nobody can send more in one round trip."""

_BLOB = "x" * 10_240


class Workload(Struct, frozen=True):
    """An app and its tasks.

    Attributes:
        app: the app.
        noop: does nothing and returns nothing; its result is stored.
        plain: the same in a thread.
        nap: waits for so many seconds.
        blob: returns the length of its argument.
        since: given a time, returns the seconds from then to its own begin.
        strand: writes its begin into a file; the first one to do so never comes to an end.
    """

    app: Chicory
    noop: AsyncTask[[], None]
    plain: SyncTask[[], None]
    nap: AsyncTask[[float], None]
    blob: AsyncTask[[str], int]
    since: AsyncTask[[float], float]
    strand: AsyncTask[[str], None]

    def worker(self, concurrency: int) -> Worker:
        """A worker for it."""
        return Worker(self.app, WorkerConfig(concurrency=concurrency))

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

    async def later(self, seconds: float) -> AsyncResult[float]:
        """Have ``since`` run in so many seconds, asked for the time that it is late."""
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        moment = time.monotonic() + seconds
        message = TaskMessage(id=uuid4().hex, name=self.since.name, args=[moment], eta=due)
        return self.app.result(await self.app.broker.publish(message))

    def _caller(self, job: Job) -> Callable[[], Awaitable[str]]:
        match job.task:
            case "noop":
                return self.noop.send
            case "plain":
                return self.plain.send
            case "nap":
                return lambda: self.nap.send(job.nap)
            case "blob":
                return lambda: self.blob.send(_BLOB)


def workload(url: str) -> Workload:
    """The workload on the broker of that URL."""
    app = Chicory(url, config=ChicoryConfig())
    return Workload(
        app,
        app.task(name="noop")(_noop),
        app.task(name="plain")(_plain),
        app.task(name="nap")(anyio.sleep),
        app.task(name="blob")(_blob),
        app.task(name="since")(_since),
        app.task(name="strand")(_strand),
    )


async def _noop() -> None:
    pass


def _plain() -> None:
    pass


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
