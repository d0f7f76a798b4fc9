"""Single calls, one after the other, timed; for peers, too: the standard library only."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.spread import told


async def echoes(
    ask: Callable[[float], Awaitable[float]],
    sleep: Callable[[float], Awaitable[None]],
    count: int,
    seconds: float,
    pauses: Sequence[float],
) -> dict[str, float]:
    """Latencies in milliseconds.

    Args:
        ask: calls a task with a time and returns its result: the seconds from then to its begin.
        sleep: of the event loop.
        count: calls to time.
        seconds: after which no more are begun, so that who polls for results comes to an end.
        pauses: the least and the most seconds between two calls.
    """
    await ask(0.0)
    woken: list[float] = []
    answered: list[float] = []
    end = time.monotonic() + seconds
    while len(answered) < count and (not answered or time.monotonic() < end):
        await sleep(random.uniform(*pauses))
        begin = time.monotonic()
        woken.append(1000 * await ask(begin))
        answered.append(1000 * (time.monotonic() - begin))
    return {
        **told("latency", answered),
        **told("wake-up", woken),
        "wake-up max": max(woken),
        "calls timed": len(answered),
    }
