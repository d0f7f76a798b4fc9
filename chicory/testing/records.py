"""Records with their time to live, and those who watch them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from msgspec import Struct

from chicory.loop import Loop
from chicory.transport import Record

Sink: TypeAlias = Callable[[str, bytes], None]


class Watcher:
    """Calls the sinks of one connection on its event loop, in the order of the records."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._sinks: dict[str, Sink] = {}
        self._pending: list[tuple[str, bytes]] = []

    def add(self, task_ids: Iterable[str], sink: Sink) -> None:
        """Call this sink for these calls from now on."""
        self._sinks.update(dict.fromkeys(task_ids, sink))

    def remove(self, task_ids: Iterable[str]) -> list[str]:
        """Call the sinks of these no more; the ids that had one."""
        return [task_id for task_id in task_ids if self._sinks.pop(task_id, None)]

    def clear(self) -> list[str]:
        """Call none any more; the ids that had one."""
        return self.remove(tuple(self._sinks))

    def push(self, task_id: str, body: bytes) -> None:
        """Have a sink called soon. May be called from any thread."""
        with self._lock:
            self._pending.append((task_id, body))
            if len(self._pending) > 1:
                return
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for task_id, body in pending:
            sink = self._sinks.get(task_id)
            if sink is not None:
                sink(task_id, body)


class _Kept(Struct, frozen=True, gc=False):
    """A record. What the garbage collector need not look into, it does not: a million is normal."""

    expires: float
    body: bytes


_SLACK = 1024


class Records:
    """The latest record of each call. Guarded by the lock of the store that owns it.

    Those whose time is over are dropped whenever as many were put as there were after the last
    time: so no more of them are kept than of the others, but for a few.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._until_forgetting = _SLACK
        self._watchers: dict[str, list[Watcher]] = {}

    def put(self, record: Record, now: float) -> None:
        """Store or delete, and tell the watchers."""
        task_id, body = record.task_id, record.body
        if body is None:
            self._kept.pop(task_id, None)
            return
        self._kept[task_id] = _Kept(now + record.ttl, body)
        self._until_forgetting -= 1
        if not self._until_forgetting:
            self._forget(now)
        if self._watchers:
            for watcher in self._watchers.get(task_id, ()):
                watcher.push(task_id, body)

    def get(self, task_id: str, now: float) -> bytes | None:
        """The body, unless its time is over."""
        found = self._kept.get(task_id)
        return found.body if found and found.expires > now else None

    def watch(self, task_ids: Iterable[str], watcher: Watcher, now: float) -> None:
        """Push what is stored, and from now on what is put."""
        for task_id in task_ids:
            watchers = self._watchers.setdefault(task_id, [])
            if watcher not in watchers:
                watchers.append(watcher)
            body = self.get(task_id, now)
            if body is not None:
                watcher.push(task_id, body)

    def unwatch(self, task_ids: Iterable[str], watcher: Watcher) -> None:
        """Push no more."""
        for task_id in task_ids:
            watchers = self._watchers.get(task_id, [])
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers:
                self._watchers.pop(task_id, None)

    def _forget(self, now: float) -> None:
        over = [task_id for task_id, kept in self._kept.items() if kept.expires <= now]
        for task_id in over:
            del self._kept[task_id]
        self._until_forgetting = len(self._kept) + _SLACK
