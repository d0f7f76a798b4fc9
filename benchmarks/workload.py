"""The tasks that are run: next to no work, so that what is seen is the queue's own cost."""

from __future__ import annotations

import time

import anyio
from msgspec import Struct

from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.task import AsyncTask

MANY = 256
"""Concurrent callers that make up a bulk: nobody can send more in one round trip."""


class Workload(Struct, frozen=True):
    """An app and its tasks.

    Attributes:
        app: the app.
        noop: does nothing and returns nothing; its result is stored.
        since: given a time, returns the seconds from then to its own begin.
    """

    app: Chicory
    noop: AsyncTask[[], None]
    since: AsyncTask[[float], float]

    def worker(self, concurrency: int) -> Worker:
        """A worker for it."""
        return Worker(self.app, WorkerConfig(concurrency=concurrency))

    async def send(self, count: int, callers: int) -> float:
        """Enqueue no-ops by that many callers at once; seconds until all are durable."""

        async def call(times: int) -> None:
            for _ in range(times):
                await self.noop.send()

        begin = time.perf_counter()
        async with anyio.create_task_group() as group:
            for caller in range(callers):
                group.start_soon(call, len(range(caller, count, callers)))
        return time.perf_counter() - begin


def workload(url: str) -> Workload:
    """The workload on the broker of that URL."""
    app = Chicory(url, config=ChicoryConfig())
    return Workload(app, app.task(name="noop")(_noop), app.task(name="since")(_since))


async def _noop() -> None:
    pass


async def _since(moment: float) -> float:
    # one clock for all processes of a machine
    return time.monotonic() - moment
