"""Calls that come at a rate, whether or not anybody can keep up with them.

For peers, too: the standard library only.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable

_GLANCE = 0.001
_AT_ONCE = 256
"""As many calls are made at once at most by who has fallen behind."""


class Arrivals:
    """A Poisson process: events that know nothing of each other, so many a second on average."""

    def __init__(self, rate: float, begin: float) -> None:
        self._rate = rate
        self._next = begin + random.expovariate(rate)

    def take(self, now: float, most: int) -> int:
        """How many have come by now and were not taken yet, but no more than that."""
        taken = 0
        while self._next <= now and taken < most:
            self._next += random.expovariate(self._rate)
            taken += 1
        return taken


async def press(
    send: Callable[[int], Awaitable[object]],
    sleep: Callable[[float], Awaitable[None]],
    rate: float,
) -> dict[str, float]:
    """Make calls until standard input is closed; says how many a second that were."""
    closed = threading.Event()
    threading.Thread(target=_wait_for_the_end_of_input, args=[closed], daemon=True).start()
    print("ready", flush=True)
    begin, sent = time.monotonic(), 0
    arrivals = Arrivals(rate, begin)
    while not closed.is_set():
        if due := arrivals.take(time.monotonic(), _AT_ONCE):
            await send(due)
            sent += due
        else:
            await sleep(_GLANCE)
    return {"rate": sent / (time.monotonic() - begin)}


def _wait_for_the_end_of_input(closed: threading.Event) -> None:
    sys.stdin.read()
    closed.set()
