"""Duties that are done for as long as a worker lives, whatever goes wrong; on an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from chicory.errors import BrokerConnectionError
from chicory.worker.patience import Patience

SHORTEST_LIMIT = 2.0
"""Seconds that a duty may always take."""

Duty = Callable[[], Awaitable[None]]


class Insistence:
    """Does duties until they are done; one that takes longer than ``limit`` seconds has failed."""

    def __init__(self, limit: float) -> None:
        self._limit = max(limit, SHORTEST_LIMIT)

    async def once(self, duty: Duty, name: str) -> None:
        """Try until it is done."""
        patience = Patience(name)
        while True:
            try:
                await self._in_time(duty)
            except Exception as error:  # noqa: BLE001  (no duty ends as long as the worker lives)
                await patience.after(error)
            else:
                patience.over()
                return

    async def every(self, seconds: float, duty: Duty, name: str) -> None:
        """Do it again and again, with a pause of so many seconds."""
        while True:
            await self.once(duty, name)
            await asyncio.sleep(seconds)

    async def _in_time(self, duty: Duty) -> None:
        try:
            async with asyncio.timeout(self._limit):
                await duty()
        except TimeoutError:
            raise BrokerConnectionError(f"no answer within {self._limit:g} s") from None


async def together(*duties: Coroutine[Any, Any, None]) -> None:
    """Do these; cancelled, it is over when all of them are.

    ``gather`` would be over with the first one, while another still connects: what is closed
    then is open after all when that ends.
    """
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
