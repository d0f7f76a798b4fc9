"""A wake-up call that crosses threads and event loops and is never lost."""

from __future__ import annotations

import math
import threading

from anyio import Event

from chicory.clock import Clock
from chicory.loop import Loop, current_loop


class Signal:
    """Wakes everything that waits for a change.

    To lose no wake-up, read ``version`` first, then look at the state, then ``wait(version)``:
    a notification in between makes the wait return at once. Thread-safe; the waiters may live
    on different event loops.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters: dict[Event, Loop] = {}
        self.version = 0

    def notify(self) -> None:
        """Wake all who wait now. May be called from any thread."""
        with self._lock:
            self.version += 1
            waiters, self._waiters = self._waiters, {}
        for event, loop in waiters.items():
            loop.call_soon(event.set)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiters)

    async def wait(self, seen: int, until: float = math.inf) -> None:
        """Return when ``version`` differs from ``seen``, or at the clock's time ``until``.

        It may return early: look again.
        """
        event = Event()
        with self._lock:
            if self.version != seen:
                return
            self._waiters[event] = current_loop()
        try:
            await self._clock.wait(event, until)
        finally:
            with self._lock:
                self._waiters.pop(event, None)
