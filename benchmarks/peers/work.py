"""The tasks that peers run, and the count of them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import busy


class Tally:
    """How many tasks have run in this process, and when: safe to note from any thread.

    Attributes:
        begin: when the first one ran, with the CPU time that the process had used by then.
        end: the same for the last one.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._noted: list[int] = []
        self._expected = 0
        self.begin = self.end = (0.0, 0.0)

    def expect(self, count: int) -> None:
        """Begin to count, up to that number."""
        self._numbers = itertools.count(1)
        self._noted = []
        self._expected = count
        self.begin = self.end = (0.0, 0.0)

    def start(self) -> None:
        """The first task is about to run; where this is not called, it is when it has run."""
        if not self.begin[0]:
            self.begin = _now()

    def note(self) -> None:
        """A task has run."""
        number = next(self._numbers)
        self._noted.append(number)
        if number == 1:
            self.start()
        if number == self._expected:
            self.end = _now()

    def ran(self) -> int:
        """How many have run by now."""
        return len(self._noted)


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


async def spin(seconds: float) -> int:
    """Take so much of a processor's time."""
    busy.spin(seconds)
    TALLY.note()
    return 0


def plain_spin(seconds: float) -> int:
    """The same in a thread."""
    busy.spin(seconds)
    TALLY.note()
    return 0


async def blob(body: str) -> int:
    """Be sent much, and answer with its length."""
    TALLY.note()
    return len(body)


async def since(moment: float) -> float:
    """The seconds from that moment to now: one clock for all processes of a machine."""
    return time.monotonic() - moment


async def strand(path: str) -> int:
    """Note that one has begun; the first one never comes to an end."""
    if _note_begin(path):
        await asyncio.Event().wait()
    return 0


def plain_strand(path: str) -> int:
    """The same in a thread."""
    if _note_begin(path):
        threading.Event().wait()
    return 0


def _note_begin(path: str) -> bool:
    with Path(path).open("a+", encoding="ascii") as marks:
        marks.seek(0)
        first = not marks.read()
        marks.write(f"{time.monotonic()}\n")
    return first


def coroutine(task: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The task, in a thread if need be, as users of queues have it that run coroutines only."""
    if inspect.iscoroutinefunction(task):
        return task

    @functools.wraps(task)
    async def run(*args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, task, *args)

    return run


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


_THREADS = ThreadPoolExecutor(32)  # which starts none before there is something to run

ON_THE_LOOP: tuple[Callable[..., Any], ...] = (
    noop,
    plain,
    nap,
    spin,
    plain_spin,
    blob,
    since,
    strand,
)
"""For queues that run coroutines, and put what is none into threads."""
COROUTINES = tuple(map(coroutine, ON_THE_LOOP))
"""For queues that run coroutines only."""
BARE: dict[str, Callable[..., Awaitable[Any]]] = {"noop": bare, "since": since}
IN_THREADS = {
    "noop": plain,
    "plain": plain,
    "nap": plain_nap,
    "spin": plain_spin,
    "plain_spin": plain_spin,
    "strand": plain_strand,
    "blob": plain_blob,
    "since": plain_since,
}
"""The same for queues that know threads only, by the name that each stands in for."""
