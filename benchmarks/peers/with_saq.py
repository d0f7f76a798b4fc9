"""saq: https://saq-py.readthedocs.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from contextlib import suppress
from inspect import iscoroutinefunction
from typing import Any

from saq import Queue as SaqQueue
from saq import Worker

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class Saq(Queue):
    """``job.refresh(until_complete=)`` waits on its channel; ``apply`` polls twice a second.

    A refresh looks before it listens: a job that is done in between is never heard of, and one
    asks again after that second, as its authors' example has it.
    """

    async def open(self) -> None:
        self._queue = SaqQueue.from_url(self.url)
        await self._queue.connect()

    async def send(self, name: str, *args: Any) -> None:
        await self._queue.enqueue(name, timeout=0, args=args)

    async def ask(self, name: str, *args: Any) -> Any:
        job = await self._queue.enqueue(name, timeout=0, args=args)
        while not job.completed:
            with suppress(TimeoutError):
                await job.refresh(until_complete=1)
        return job.result

    async def work(self) -> None:
        functions = [(task.__name__, _with_context(task)) for task in work.ON_THE_LOOP]
        worker = Worker(self._queue, functions, concurrency=self.concurrency)
        worker.SIGNALS = []
        await worker.start()


def _with_context(task: Any) -> Any:
    if not iscoroutinefunction(task):
        return lambda _context, args: task(*args)

    async def run(_context: Any, args: Any) -> Any:
        return await task(*args)

    return run


if __name__ == "__main__":
    perform(Saq)
