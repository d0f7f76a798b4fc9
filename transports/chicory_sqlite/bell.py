"""What the watcher's thread sleeps on: a ring from this process, or a write to the log file."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from chicory_sqlite import inotify

_LOOK_EVERY = 0.019
"""Seconds: how often to look where the system reports writes, in case it did not."""

_POLL_EVERY = 0.005
"""Seconds: how often to look where the system does not report writes."""


class Bell(Protocol):
    """Something to sleep on."""

    def ring(self) -> None:
        """End a sleep, this one or the next. Thread-safe."""
        ...

    def sleep(self) -> None:
        """Until it rings."""
        ...

    def doze(self, at_most: float) -> bool:
        """Until it rings, the file was written to, or it is time to look; True for a write."""
        ...

    def close(self) -> None:
        """Give up what the system lent; nobody sleeps any more."""
        ...


def bell(log: Path) -> Bell:
    """The best that this system has."""
    watch = inotify.watch(log)
    return PollBell() if watch is None else WriteBell(watch)


class PollBell:
    """Looks often."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """End a sleep."""
        self._event.set()

    def sleep(self) -> None:
        """Until it rings."""
        self._event.wait()
        self._event.clear()

    def doze(self, at_most: float) -> bool:
        """Until it rings or a few milliseconds are over."""
        if self._event.wait(min(at_most, _POLL_EVERY)):
            self._event.clear()
        return False

    def close(self) -> None:
        """Nothing was lent."""


class WriteBell:
    """Is told of writes by inotify."""

    def __init__(self, watch: int) -> None:
        self._watch = watch
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = select.poll()
        self._rung.register(self._event, select.POLLIN)
        self._any = select.poll()
        self._any.register(self._event, select.POLLIN)
        self._any.register(self._watch, select.POLLIN)

    def ring(self) -> None:
        """End a sleep."""
        os.eventfd_write(self._event, 1)

    def sleep(self) -> None:
        """Until it rings."""
        self._rung.poll()
        self._forget_ring()

    def doze(self, at_most: float) -> bool:
        """Until it rings, the file is written to, or 19 ms are over."""
        timeout = 1000 * min(at_most, _LOOK_EVERY)
        ready = {descriptor for descriptor, _ in self._any.poll(timeout)}
        if self._event in ready:
            self._forget_ring()
        if self._watch in ready:
            inotify.drain(self._watch)
        return self._watch in ready

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._watch)
        os.close(self._event)

    def _forget_ring(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
