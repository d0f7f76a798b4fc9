"""What a fork must not tear apart: SQLite keeps the locks of a process in that process.

A child inherits what its parent knew of them, but not the locks: it would take itself for the
holder of locks that it does not have, and write into a log that others have removed. So nothing
is under way in SQLite while a process forks, and the child closes what it has inherited, which
leaves the parent's locks alone, before it opens anything.

https://www.sqlite.org/howtocorrupt.html, section 2.6.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress

from chicory.errors import BrokerConnectionError

PATIENCE = 5.0
"""Seconds that a fork waits for what is under way."""


class Connection(sqlite3.Connection):
    """One that a child closes."""


class Gate:
    """Many may be inside at the same time, but while the process forks."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forks = False
        self._is_torn = False

    def note(self, connection: Connection) -> None:
        """Have a child close this connection."""
        self._connections.add(connection)

    @contextmanager
    def inside(self) -> Generator[None]:
        """While SQLite is at work.

        Raises ``BrokerConnectionError`` in a child that cannot use it.
        """
        self._enter()
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self._forks:
                    self._changed.notify_all()

    def _enter(self) -> None:
        with self._changed:
            if self._is_torn:
                raise BrokerConnectionError(
                    f"this process was forked in a transaction on SQLite that took {PATIENCE:g} s: "
                    'fork before the first call, or start processes anew (multiprocessing "spawn")'
                )
            while self._forks:
                self._changed.wait()
            self._inside += 1

    def before_fork(self) -> None:
        """Let nobody in, and wait until nobody is."""
        with self._changed:
            self._forks = True
            self._changed.wait_for(lambda: not self._inside, PATIENCE)

    def after_in_parent(self) -> None:
        """Let all in again."""
        with self._changed:
            self._forks = False
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Close what was inherited; where somebody was inside, SQLite cannot be used here."""
        is_torn = self._inside > 0
        self._begin_anew()
        self._is_torn = is_torn
        for connection in [] if is_torn else [*self._connections]:
            with suppress(sqlite3.Error):
                connection.close()
        self._connections = weakref.WeakSet()


gate = Gate()
"""Of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=gate.before_fork,
        after_in_parent=gate.after_in_parent,
        after_in_child=gate.after_in_child,
    )
