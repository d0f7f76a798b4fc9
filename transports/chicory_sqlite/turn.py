"""Whose turn it is to write: a queue of processes, kept by the kernel.

SQLite's own lock is the one that counts; who finds it taken sleeps for up to 100 ms and may find
it taken again. An advisory lock on a file beside the database wakes the next one at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from enum import Enum
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PATIENCE = 1.0
"""Seconds after which one goes on without a turn: its holder may be suspended."""


_TRIES = 6
_BETWEEN_TRIES = 0.00005
"""Seconds: most transactions are over that soon, sooner than another thread is set to wait."""


class _Request(Enum):
    TURN = "turn"
    END = "end"


class Turn(Protocol):
    """A place in the queue of writers."""

    def take(self) -> None:
        """Wait for one's turn, a second at most."""
        ...

    def give(self) -> None:
        """Let the next one write."""
        ...

    def close(self) -> None:
        """Leave the queue."""
        ...


def turn(database: Path) -> Turn:
    """A place in the queue for this database, where the system can keep one."""
    if fcntl is None:
        return FreeTurn()
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
    try:
        return FileTurn(os.open(f"{database}-lock", flags, 0o600))
    except OSError:
        return FreeTurn()


class FreeTurn:
    """No queue: SQLite's own lock alone decides."""

    def take(self) -> None:
        """Go on."""

    def give(self) -> None:
        """Nothing was taken."""

    def close(self) -> None:
        """Nothing is open."""


class FileTurn:
    """A turn taken by ``flock``; the kernel gives it back when the process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._asked: SimpleQueue[_Request] = SimpleQueue()
        self._helper: threading.Thread | None = None
        self._pending = False
        self._wanted = False
        self._held = False
        self._closed = False
        _open_turns.add(self)

    def take(self) -> None:
        """Wait for one's turn, a second at most."""
        if not self._pending and self._try():
            self._held = True
            return
        with self._changed:
            if not self._ask():
                return
            self._wanted = True
            self._changed.wait_for(lambda: self._held, _PATIENCE)
            self._wanted = False

    def give(self) -> None:
        """Let the next one write."""
        if self._held:
            self._held = False
            _unlock(self._descriptor)

    def close(self) -> None:
        """Leave the queue; a helper that waits still does so once it is served."""
        self.give()
        with self._changed:
            self._closed = True
            pending = self._pending
        self._asked.put(_Request.END)
        if not pending:
            if self._helper is not None:
                self._helper.join()
            self.forget()

    def forget(self) -> None:
        """Close the file."""
        _open_turns.discard(self)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _try(self) -> bool:
        for _ in range(_TRIES):
            if _lock(self._descriptor, wait=False):
                return True
            time.sleep(_BETWEEN_TRIES)
        return False

    def _ask(self) -> bool:
        """Have the helper wait: who waits for the kernel cannot wait for a time as well.

        False where there is no thread left for it: SQLite's own lock is the one that counts.
        """
        if self._helper is None:
            helper = threading.Thread(target=self._help, name="chicory-sqlite-turn", daemon=True)
            try:
                helper.start()
            except RuntimeError:
                return False
            self._helper = helper
        if not self._pending:
            self._pending = True
            self._asked.put(_Request.TURN)
        return True

    def _help(self) -> None:
        while self._asked.get() is _Request.TURN:
            _lock(self._descriptor, wait=True)
            with self._changed:
                self._pending = False
                if self._closed:
                    self.forget()
                    return
                self._held = self._wanted
                if not self._held:
                    _unlock(self._descriptor)
                self._changed.notify_all()


_open_turns: weakref.WeakSet[FileTurn] = weakref.WeakSet()


def _lock(descriptor: int, *, wait: bool) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    assert fcntl is not None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _leave_in_child() -> None:
    # a child that lives on after its parent was killed must not keep the parent's turn
    for open_turn in list(_open_turns):
        open_turn.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)
