"""arq: https://arq-docs.helpmanuel.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from typing import Any

from arq import Worker, create_pool, func
from arq.connections import RedisSettings

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform


class Arq(Queue):
    """Its worker and the waiting for a result poll, every 0.5 s unless told otherwise."""

    async def open(self) -> None:
        self._settings = RedisSettings.from_dsn(self.url)
        self._redis = await create_pool(self._settings)

    async def send(self, name: str, *args: Any) -> None:
        await self._redis.enqueue_job(name, *args)

    async def ask(self, name: str, *args: Any) -> Any:
        job = await self._redis.enqueue_job(name, *args)
        return await job.result(timeout=10)

    async def work(self) -> None:
        worker = Worker(
            [func(_with_context(task), name=task.__name__) for task in work.COROUTINES],
            redis_settings=self._settings,
            max_jobs=self.concurrency,
            handle_signals=False,
        )
        await worker.async_run()


def _with_context(task: Any) -> Any:
    async def run(_context: Any, *args: Any) -> Any:
        return await task(*args)

    return run


if __name__ == "__main__":
    perform(Arq)
