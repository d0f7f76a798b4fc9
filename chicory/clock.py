"""Time as an input: what reads the time or waits for it does so through a clock."""

from __future__ import annotations

import math
import time
from typing import Protocol

from anyio import Event, move_on_after

GLANCE = 0.5
"""Seconds between looks at a clock by which something is waited for."""


class Clock(Protocol):
    """A source of wall-clock time. ``chicory.testing.ManualClock`` is one that tests move."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def wait(self, event: Event, until: float) -> None:
        """Return once ``event`` is set or the time ``until`` has come (``inf``: never).

        It may return early: look at the state that you wait for, and wait again.
        """
        ...


class HasClock(Protocol):
    """What has a clock, which may be exchanged."""

    clock: Clock


class Following:
    """The clock that its owner has at the moment."""

    def __init__(self, owner: HasClock) -> None:
        self._owner = owner

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._owner.clock.now()

    async def wait(self, event: Event, until: float) -> None:
        """Wait for the event, at most until the time given."""
        await self._owner.clock.wait(event, until)


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def wait(self, event: Event, until: float) -> None:
        """Wait for the event, at most until the time given."""
        if until == math.inf:
            await event.wait()
            return
        while True:
            # the clock may be set meanwhile, which nothing tells
            with move_on_after(max(0.0, min(until - self.now(), GLANCE))):
                await event.wait()
            if event.is_set() or self.now() >= until:
                return
