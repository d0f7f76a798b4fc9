"""Records with their time to live, and those who watch them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import TypeAlias

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


class Records:
    """The latest record of each call. Guarded by the lock of the store that owns it."""

    def __init__(self) -> None:
        self._bodies: dict[str, tuple[float, bytes]] = {}
        self._ends: list[tuple[float, str]] = []
        self._watchers: dict[str, list[Watcher]] = {}

    def put(self, record: Record, now: float) -> None:
        """Store or delete, and tell the watchers."""
        task_id, body = record.task_id, record.body
        if body is None:
            self._bodies.pop(task_id, None)
            return
        expires = now + record.ttl
        self._bodies[task_id] = (expires, body)
        heappush(self._ends, (expires, task_id))
        if self._ends[0][0] <= now:
            self._forget(now)
        if self._watchers:
            for watcher in self._watchers.get(task_id, ()):
                watcher.push(task_id, body)

    def get(self, task_id: str, now: float) -> bytes | None:
        """The body, unless its time is over."""
        found = self._bodies.get(task_id)
        return found[1] if found and found[0] > now else None

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
        while self._ends and self._ends[0][0] <= now:
            expires, task_id = heappop(self._ends)
            found = self._bodies.get(task_id)
            if found and found[0] == expires:
                del self._bodies[task_id]
