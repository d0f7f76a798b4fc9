"""taskiq on taskiq-redis: https://taskiq-python.github.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class TaskiqRedis(Queue):
    """Redis Streams, which its authors recommend where tasks must be acknowledged.

    ``wait_result`` polls, every 0.2 s unless told otherwise.
    """

    async def open(self) -> None:
        results = RedisAsyncResultBackend(self.url, result_ex_time=3600)
        self._broker = RedisStreamBroker(self.url).with_result_backend(results)
        self._tasks = {task.__name__: self._broker.task(task) for task in work.ON_THE_LOOP}
        await self._broker.startup()

    async def send(self, name: str, *args: Any) -> None:
        await self._tasks[name].kiq(*args)

    async def ask(self, name: str, *args: Any) -> Any:
        task = await self._tasks[name].kiq(*args)
        return (await task.wait_result(timeout=10)).return_value

    async def work(self) -> None:
        await run_receiver_task(self._broker, max_async_tasks=self.concurrency)


if __name__ == "__main__":
    perform(TaskiqRedis)
