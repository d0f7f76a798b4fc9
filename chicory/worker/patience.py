"""Trying again for as long as it takes: with growing pauses, and one log line per event."""

from __future__ import annotations

import random

import anyio

from chicory.errors import ChicoryError
from chicory.logs import unfailing

SHORTEST = 0.01
LONGEST = 2.0

logger = unfailing("chicory.worker")


class Patience:
    """Waits between attempts at one thing; says once that it fails, and once that it works."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._failures = 0

    async def after(self, error: Exception) -> None:
        """Wait after a failure: a jittered pause that doubles from 10 ms to 2 s."""
        self._failures += 1
        if self._failures == 1:
            unexpected = not isinstance(error, ChicoryError)
            logger.warning("%s fails, trying on: %s", self._doing, error, exc_info=unexpected)
        pause = min(LONGEST, SHORTEST * 2.0 ** min(self._failures, 16))
        await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)

    def over(self) -> None:
        """It worked."""
        if self._failures:
            logger.warning("%s works again after %d attempts", self._doing, self._failures)
            self._failures = 0
