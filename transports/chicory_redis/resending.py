"""How long and how often a call is made again."""

from __future__ import annotations

import asyncio
import random

from chicory_redis.address import Address
from chicory_redis.translation import is_passing, translated

WINDOW = 5.0
"""Seconds within which a call whose answer was lost is made again, before its caller is told."""

_SHORTEST = 0.01
_LONGEST = 0.5


class Resending:
    """Waits between the attempts at one call."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._until = asyncio.get_running_loop().time() + WINDOW
        self._pause = _SHORTEST

    async def after(self, error: Exception) -> None:
        """Wait a little; raises the error, translated, where trying again is of no use."""
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  (jitter)
        if not is_passing(error) or asyncio.get_running_loop().time() + pause > self._until:
            raise translated(error, self._address) from error
        await asyncio.sleep(pause)
        self._pause = min(_LONGEST, self._pause * 2)
