"""docket: https://docket.lol."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from docket import Docket, Worker

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class DocketQueue(Queue):
    """Results are pushed; states and results are kept for 15 minutes, which is its default."""

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        docket = Docket(name="bench", url=self.url)
        self._docket = await self._stack.enter_async_context(docket)
        self._tasks = {task.__name__: task for task in work.COROUTINES}
        for task in work.COROUTINES:
            docket.register(task)

    async def send(self, name: str, *args: Any) -> None:
        await self._docket.add(self._tasks[name])(*args)

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        task = self._tasks[name]
        await self._docket.add_many(self._docket.call(task)(*args) for _ in range(count))

    async def ask(self, name: str, *args: Any) -> Any:
        execution = await self._docket.add(self._tasks[name])(*args)
        return await execution.get_result()

    async def work(self) -> None:
        # at its default of 250 ms, it starts as many tasks as it may run and then waits that long
        interval = timedelta(milliseconds=10)
        async with Worker(
            self._docket, concurrency=self.concurrency, minimum_check_interval=interval
        ) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    perform(DocketQueue)
