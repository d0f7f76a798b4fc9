"""The watch over the worker's fetch: that it sees the messages that wait."""

from __future__ import annotations

import asyncio
import time

from chicory.logs import unfailing
from chicory.transport import Transport
from chicory.worker.loopwatch import LoopWatch
from chicory.worker.ward import Ward

logger = unfailing("chicory.worker")

DEAF_AFTER = 5.0
"""Seconds between looks at whether a fetch that waits overlooks ready messages."""
DEAF_FOR = 1.0
"""Seconds that a fetch must have overlooked them."""


class FetchWatch:
    """Looks at the queue beside the fetch; runs on the keeper's event loop.

    Args:
        ward: whose fetch it is.
        broker: on the keeper's own connection.
        loop_watch: a worker whose event loop is blocked is in another trouble.
    """

    def __init__(self, ward: Ward, broker: Transport, loop_watch: LoopWatch) -> None:
        self._ward = ward
        self._broker = broker
        self._loop_watch = loop_watch
        self._deaf_since: float | None = None
        self._deaf_until = 0.0

    @property
    def deaf(self) -> float:
        """Seconds for which messages were seen to wait beside free slots, and none was fetched.

        From any thread.
        """
        since = self._deaf_since
        return 0.0 if since is None else self._deaf_until - since

    async def look(self) -> None:
        """Have the worker fetch anew where messages wait that its fetch does not see."""
        if not await self._overlooked():
            self._deaf_since = None
            return
        await asyncio.sleep(DEAF_FOR)  # it may be about to fetch them, or another worker
        if not await self._overlooked():
            self._deaf_since = None
            return
        self._deaf_until = time.monotonic()
        if self._deaf_since is None:
            self._deaf_since = self._deaf_until - 2 * DEAF_FOR  # or longer
            logger.error("messages wait and the fetch does not see them: fetching anew")
        self._ward.loop.call_soon(self._ward.shift.intake.interrupt)

    async def _overlooked(self) -> bool:
        queues = self._ward.shift.starving(DEAF_FOR)
        if not queues or self._loop_watch.blocked > DEAF_FOR:
            return False
        counts = await self._broker.counts(queues)
        return any(count.ready and not count.paused for count in counts.values())
