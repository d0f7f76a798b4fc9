"""How much work to hold beyond what runs, by how fast it has been done lately."""

from __future__ import annotations

import time

MAX_FETCH = 256
HIDDEN = 0.02
"""Seconds of work to hold beyond the free slots: about the longest round trip worth hiding."""


class Pace:
    """How many calls are finished in the time of a round trip, lately."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is known."""
        self._rate = 0.0
        self._since = time.monotonic()
        self._finished: int | None = None

    def ahead(self, finished: int) -> int:
        """How many to hold; ``finished``: calls so far."""
        now = time.monotonic()
        elapsed = now - self._since
        if self._finished is None:
            self._finished, self._since = finished, now
        elif elapsed > HIDDEN:
            rate = (finished - self._finished) / elapsed
            self._rate = rate if rate < self._rate else (self._rate + rate) / 2
            self._finished, self._since = finished, now
        return min(MAX_FETCH, int(self._rate * HIDDEN))
