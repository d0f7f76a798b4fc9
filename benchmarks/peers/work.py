"""The tasks that peers run, and the count of them."""

from __future__ import annotations

import asyncio
import itertools
import time


class Tally:
    """How many tasks have run in this process, and when: safe to note from any thread.

    Attributes:
        begin: when the first one ran, with the CPU time that the process had used by then.
        end: the same for the last one.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._expected = 0
        self.begin = self.end = (0.0, 0.0)

    def expect(self, count: int) -> None:
        """Begin to count, up to that number."""
        self._numbers = itertools.count(1)
        self._expected = count
        self.begin = self.end = (0.0, 0.0)

    def start(self) -> None:
        """The first task is about to run; where this is not called, it is when it has run."""
        if not self.begin[0]:
            self.begin = _now()

    def note(self) -> None:
        """A task has run."""
        number = next(self._numbers)
        if number == 1:
            self.start()
        if number == self._expected:
            self.end = _now()


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


TALLY = Tally()


async def noop() -> int:
    """Do nothing. Some store no result where it is ``None``."""
    TALLY.note()
    return 0


def plain() -> int:
    """The same in a thread."""
    TALLY.note()
    return 0


async def bare() -> int:
    """Do nothing, uncounted: bare clients count what they have settled."""
    return 0


async def nap(seconds: float) -> int:
    """Wait, as a task does that asks a server for something."""
    await asyncio.sleep(seconds)
    TALLY.note()
    return 0


async def blob(body: str) -> int:
    """Be sent much, and answer with its length."""
    TALLY.note()
    return len(body)


async def since(moment: float) -> float:
    """The seconds from that moment to now: one clock for all processes of a machine."""
    return time.monotonic() - moment


def plain_nap(seconds: float) -> int:
    """A nap in a thread."""
    time.sleep(seconds)
    TALLY.note()
    return 0


def plain_blob(body: str) -> int:
    """Be sent much, in a thread."""
    TALLY.note()
    return len(body)


def plain_since(moment: float) -> float:
    """Seconds since then, in a thread."""
    return time.monotonic() - moment


ON_THE_LOOP = (noop, plain, nap, blob, since)
BARE = {"noop": bare}
IN_THREADS = {
    "noop": plain,
    "plain": plain,
    "nap": plain_nap,
    "blob": plain_blob,
    "since": plain_since,
}
"""The same for queues that know threads only, by the name that each stands in for."""
