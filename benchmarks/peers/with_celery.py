"""Celery on Redis: https://docs.celeryq.dev."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import threading
from typing import Any

from celery import Celery
from celery.worker import WorkController

from benchmarks.peers import work
from benchmarks.peers.queue import ThreadedQueue
from benchmarks.peers.stage import perform


class CeleryQueue(ThreadedQueue):
    """A pool of threads, prefetching four for each; results are pushed.

    Acknowledged late, that is when a task has ended: what others do, too. Without gossip,
    mingling and the events of its heartbeat, as is advised for speed.
    """

    async def open(self) -> None:
        self._app = Celery("bench", broker=self.url, backend=self.url)
        self._app.set_default()  # as its command does: other threads must find it, too
        self._app.conf.update(task_acks_late=True, worker_hijack_root_logger=False)
        self._tasks = {
            name: self._app.task(name=name)(task) for name, task in work.IN_THREADS.items()
        }

    def put(self, name: str, *args: Any) -> None:
        self._tasks[name].delay(*args)

    def get(self, name: str, *args: Any) -> Any:
        return self._tasks[name].delay(*args).get(timeout=10)

    async def work(self) -> None:
        worker = WorkController(
            app=self._app,
            pool="threads",
            concurrency=self.concurrency,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        threading.Thread(target=worker.start, daemon=True).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    perform(CeleryQueue)
