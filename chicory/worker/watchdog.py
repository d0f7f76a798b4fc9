"""The watchdog: ends a process that was told to end and does not.

Not all that a task does can be stopped: it may swallow its cancellation, block the event loop, or
wait in a thread that Python waits for. Then only the end of the process is left.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from chicory.logs import unfailing

LAST_WORDS = 2.5
"""Seconds for what is done before the end; with ``GRACE`` less than a supervisor waits."""
GRACE = 12.0
"""Seconds beyond its shutdown timeout within which a worker that can end has ended."""
FAILED = 1

logger = unfailing("chicory.worker")


class Watchdog:
    """Waits in a thread of its own for the time by which the process must have ended.

    Args:
        bite: ends the process with an exit code.
    """

    def __init__(self, bite: Callable[[int], object] = os._exit) -> None:
        self._bite = bite
        self._is_expecting = False
        # the one thing that may be put into also in a handler of signals, whatever that interrupts
        self._told: SimpleQueue[tuple[float, Callable[[], None]]] = SimpleQueue()
        threading.Thread(target=self._watch, name="chicory watchdog", daemon=True).start()

    def expect(self, seconds: float, last: Callable[[], None]) -> None:
        """The process ends within so many seconds, or is ended; the shortest time told counts.

        ``last()`` is called before, on the watchdog's thread, and is not waited for for long.
        """
        self._is_expecting = True
        self._told.put((time.monotonic() + seconds, last))

    def is_expecting(self) -> bool:
        """Whether it has been told that the process ends; at once, also in a handler of signals."""
        return self._is_expecting

    def _watch(self) -> None:
        deadline, last = self._told.get()
        began = time.monotonic()
        with suppress(Empty):
            while True:
                left = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
                sooner, last = self._told.get(timeout=left)
                deadline = min(deadline, sooner)
        self._end(last, time.monotonic() - began)

    def _end(self, last: Callable[[], None], waited: float) -> None:
        # what the main thread hangs in may be the log's own lock
        steps = threading.Thread(target=_part, args=(last, waited), daemon=True)
        steps.start()
        steps.join(LAST_WORDS)
        self._bite(FAILED)


def _part(last: Callable[[], None], waited: float) -> None:
    logger.critical("this process was told to end, and has not ended in %.0f s: ending it", waited)
    try:
        last()
    except Exception:
        logger.exception("what it holds could not be given back")
    logging.shutdown()
