"""dramatiq on Redis: https://dramatiq.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
from typing import Any

from dramatiq import Worker, actor
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import work
from benchmarks.peers.queue import ThreadedQueue
from benchmarks.peers.stage import perform


class Dramatiq(ThreadedQueue):
    """Threads, with its default middleware; results are waited for by a blocking command."""

    async def open(self) -> None:
        self._broker = RedisBroker(url=self.url)
        self._results = RedisBackend(url=self.url)
        self._broker.add_middleware(Results(backend=self._results))
        self._tasks = {
            name: actor(actor_name=name, broker=self._broker, store_results=True)(task)
            for name, task in work.IN_THREADS.items()
        }

    def put(self, name: str, *args: Any) -> None:
        self._tasks[name].send(*args)

    def get(self, name: str, *args: Any) -> Any:
        message = self._tasks[name].send(*args)
        return message.get_result(backend=self._results, block=True, timeout=10_000)

    async def work(self) -> None:
        Worker(self._broker, worker_threads=self.concurrency).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    perform(Dramatiq)
