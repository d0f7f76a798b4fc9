"""streaQ: https://streaq.readthedocs.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from streaq import Worker

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class Streaq(Queue):
    """Prefetches as many as it runs at once, which is its default."""

    async def open(self) -> None:
        self._worker = self._make()
        self._tasks = {task.__name__: self._worker.task(task) for task in work.ON_THE_LOOP}
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self._worker)

    def _make(self) -> Worker:
        return Worker(redis_url=self.url, concurrency=self.concurrency, handle_signals=False)

    async def send(self, name: str, *args: Any) -> None:
        await self._tasks[name].enqueue(*args)

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        for first in range(0, count, 1000):
            batch = [self._tasks[name].enqueue(*args) for _ in range(min(1000, count - first))]
            await self._worker.enqueue_many(batch)

    async def ask(self, name: str, *args: Any) -> Any:
        task = await self._tasks[name].enqueue(*args)
        return (await task.result(timeout=10)).result

    async def work(self) -> None:
        worker = self._make()
        for task in work.ON_THE_LOOP:
            worker.task(task)
        await worker.run_async()


if __name__ == "__main__":
    perform(Streaq)
