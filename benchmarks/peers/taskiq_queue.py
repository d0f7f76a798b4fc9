"""What taskiq is on every broker: https://taskiq-python.github.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from taskiq import AsyncBroker
from taskiq.api import run_receiver_task

from benchmarks.peers import work
from benchmarks.peers.queue import Queue


class TaskiqQueue(Queue):
    """``wait_result`` polls, every 0.2 s unless told otherwise."""

    @abstractmethod
    def broker(self) -> AsyncBroker:
        """The broker with its store of results, not started yet."""

    async def open(self) -> None:
        self._broker = self.broker()
        self._tasks = {task.__name__: self._broker.task(task) for task in work.ON_THE_LOOP}
        await self._broker.startup()

    async def send(self, name: str, *args: Any) -> None:
        await self._tasks[name].kiq(*args)

    async def ask(self, name: str, *args: Any) -> Any:
        task = await self._tasks[name].kiq(*args)
        return (await task.wait_result(timeout=10)).return_value

    async def work(self) -> None:
        await run_receiver_task(self._broker, max_async_tasks=self.concurrency)
