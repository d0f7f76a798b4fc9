"""taskiq on taskiq-nats: https://github.com/taskiq-python/taskiq-nats."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from typing import Any

from taskiq.api import run_receiver_task
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class TaskiqNats(Queue):
    """JetStream by pulls of a batch, results in its object store.

    ``wait_result`` polls, every 0.2 s unless told otherwise.
    """

    async def open(self) -> None:
        results = NATSObjectStoreResultBackend(self.url)
        broker = PullBasedJetStreamBroker(self.url, pull_consume_batch=100)
        self._broker = broker.with_result_backend(results)
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
    perform(TaskiqNats)
