"""huey on SQLite: https://huey.readthedocs.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
from typing import Any

from huey import SqliteHuey

from benchmarks.peers import work
from benchmarks.peers.queue import ThreadedQueue
from benchmarks.peers.stage import perform


class Huey(ThreadedQueue):
    """Threads that poll, less and less often while nothing comes: its defaults."""

    async def open(self) -> None:
        self._huey = SqliteHuey(filename=self.url.removeprefix("sqlite:///"))
        self._tasks = {
            name: self._huey.task(name=name)(task) for name, task in work.IN_THREADS.items()
        }

    def put(self, name: str, *args: Any) -> None:
        self._tasks[name](*args)

    def get(self, name: str, *args: Any) -> Any:
        return self._tasks[name](*args).get(blocking=True, timeout=10)

    async def work(self) -> None:
        self._huey.create_consumer(workers=self.concurrency, periodic=False).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    perform(Huey)
