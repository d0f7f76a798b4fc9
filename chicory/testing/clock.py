"""A clock that stands still until a test moves it."""

from __future__ import annotations

import math
import threading

from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from chicory.loop import Loop, current_loop

START = 1_800_000_000.0
"""Where a clock begins unless told otherwise: a moment in January 2027."""


def check_step(seconds: float) -> None:
    """Raise ``ValueError`` for what time cannot move by: less than 0, for ever, nan."""
    if seconds < 0:
        raise ValueError(f"advance({seconds:g}): time does not go back")
    if not seconds < math.inf:
        raise ValueError(f"advance({seconds:g}): say how many seconds")


class ManualClock:
    """Time that passes only by ``advance``. Thread-safe, for waiters on any event loop."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._waiters: dict[CancelScope, tuple[float, Loop]] = {}

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    async def wait(self, event: Event, until: float) -> None:
        """Return once ``event`` is set or the clock was moved to ``until``."""
        with CancelScope() as scope:
            if not self._enter(scope, until):
                await checkpoint()
                return
            try:
                await event.wait()
            finally:
                with self._lock:
                    self._waiters.pop(scope, None)

    def advance(self, seconds: float) -> None:
        """Move the time on, and wake all whose time has come.

        Raises ``ValueError`` for less than 0 seconds, infinity and nan.
        """
        check_step(seconds)
        with self._lock:
            self._now += seconds
            due = [(scope, loop) for scope, (at, loop) in self._waiters.items() if at <= self._now]
            for scope, _ in due:
                del self._waiters[scope]
        for scope, loop in due:
            loop.call_soon(scope.cancel)

    def _enter(self, scope: CancelScope, until: float) -> bool:
        loop = current_loop()
        with self._lock:
            if until <= self._now:
                return False
            self._waiters[scope] = (until, loop)
            return True
