"""Progress on its way to the backend: the latest of each call, many calls in one round trip."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from anyio import Lock
from msgspec.structs import replace

from chicory import codec, progress
from chicory.clock import SystemClock
from chicory.errors import BrokerConnectionError, QueueFullError
from chicory.logs import unfailing
from chicory.progress import Progress
from chicory.signal import Signal
from chicory.transport import Record
from chicory.worker.attempt import Attempt
from chicory.worker.patience import Patience
from chicory.worker.plan import Post

MAX_BATCH = 128

logger = unfailing("chicory.worker")


class Reports:
    """Stores what tasks report where their results are.

    While one batch is under way the next one gathers.
    """

    def __init__(self, post: Post) -> None:
        self._now = post.now
        self._stores = post.stores
        self._transport = post.transports[-1]
        self._ttl = post.app.result_ttl
        self._farewell = post.farewell
        self._latest: dict[str, Progress] = {}
        self._under_way: Collection[str] = ()
        self._turn = Lock(fast_acquire=True)
        self._lock = threading.Lock()
        self._news = Signal(SystemClock())
        self._patience = Patience("reporting progress")

    def of(self, attempt: Attempt) -> Callable[[Progress], None] | None:
        """What is told of an attempt's progress; ``None`` where no result of it is stored."""
        assert attempt.task is not None
        if not self._stores or attempt.task.settings.ignore_result:
            return None
        return partial(self._add, attempt.delivery.task_id)

    def _add(self, task_id: str, report: Progress) -> None:
        """Store soon, in place of what this call reported before; does not wait. Thread-safe."""
        with self._lock:
            idle = not self._latest
            self._latest[task_id] = replace(report, at=self._now())
        if idle:
            self._news.notify()

    async def run(self) -> None:
        """Store what is added, until cancelled."""
        while True:
            seen = self._news.version
            try:
                await self._send()
            except (BrokerConnectionError, QueueFullError) as error:
                await self._patience.after(error)
            else:
                self._patience.over()
            if not self._latest:
                await self._news.wait(seen)

    async def hurry(self, task_ids: Collection[str]) -> None:
        """Store what these calls, which have ended, reported last; a broker that cannot is left."""
        with self._lock:
            concerned = not {*self._latest, *self._under_way}.isdisjoint(task_ids)
        if concerned:
            with suppress(BrokerConnectionError, QueueFullError):
                await self._send(task_ids)

    async def close(self) -> None:
        """Store what is left, if the broker answers: a report is no promise."""
        with self._farewell.shield():
            try:
                while self._latest:
                    await self._send()
            except (BrokerConnectionError, QueueFullError):
                return

    async def _send(self, task_ids: Collection[str] | None = None) -> None:
        async with self._turn:
            batch = self._under_way = self._take(task_ids)
            try:
                if batch:
                    await self._transport.store(self._records(batch))
            except BaseException:
                with self._lock:
                    self._latest = batch | self._latest
                raise
            finally:
                self._under_way = ()

    def _records(self, batch: dict[str, Progress]) -> list[Record]:
        """Of all that can be stored: what cannot is left out, and takes nothing with it."""
        records: list[Record] = []
        for task_id, report in batch.items():
            try:
                body = progress.encode(report)
            except codec.ENCODE_ERRORS:
                logger.exception("task %s: its progress cannot be stored", task_id)
            else:
                records.append(Record(progress.key(task_id), body, self._ttl))
        return records

    def _take(self, task_ids: Collection[str] | None) -> dict[str, Progress]:
        with self._lock:
            wanted = list(self._latest) if task_ids is None else set(task_ids) & set(self._latest)
            return {task_id: self._latest.pop(task_id) for task_id in list(wanted)[:MAX_BATCH]}
