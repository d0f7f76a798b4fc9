"""The thread that notices what other processes committed, while somebody waits for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from chicory.clock import Clock
from chicory.loop import Loop, current_loop
from chicory.signal import Signal
from chicory_sqlite.address import Address
from chicory_sqlite.bell import Bell, bell
from chicory_sqlite.database import connect_reader
from chicory_sqlite.forking import gate
from chicory_sqlite.news import News
from chicory_sqlite.sinks import Sinks

_SOON = 0.0005
_NOT_SOON = 1.0


class Watcher:
    """Wakes the fetches that wait, and tells the sinks of new records.

    Asleep while nobody waits. No change is missed: it compares with what it saw before it fell
    asleep, and wakes everybody where that differs.
    """

    def __init__(
        self, address: Address, namespace: int, clock: Clock, arrivals: Signal, sinks: Sinks
    ) -> None:
        self._arrivals = arrivals
        self._sinks = sinks
        self._loop: Loop = current_loop()
        with gate.inside():
            self._db = connect_reader(address)
            self._news = News(self._db, namespace, clock)
        self._bell: Bell = bell(Path(f"{address.path}-wal"))
        self._waiting = 0
        self._asleep = False
        self._closed = False
        self._end = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="chicory-sqlite-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self.abandon()
        self._thread.join()

    def abandon(self) -> None:
        """Have the thread end, without waiting for it."""
        with self._end:
            if not self._closed:
                self._closed = True
                self._bell.ring()

    @contextmanager
    def attention(self) -> Generator[None]:
        """While somebody waits for messages."""
        self._waiting += 1
        self._wake_up()
        try:
            yield
        finally:
            self._waiting -= 1

    def follow(self, seq: int) -> None:
        """Report records after this number to the sinks, from now on."""
        self._news.follow(seq)
        self._wake_up()
        if self._news.is_behind:  # the thread has looked meanwhile, and past it
            self._bell.ring()

    def unfollow(self) -> None:
        """Nobody wants to know of records any more."""
        self._news.unfollow()

    def _wake_up(self) -> None:
        if self._asleep:
            self._asleep = False
            self._bell.ring()

    def _run(self) -> None:
        version: int | None = None
        pause = _NOT_SOON
        while not self._closed:
            if self._nobody_waits():
                self._bell.sleep()
                continue
            seen = version
            with gate.inside():
                version = self._look(seen)
            if version != seen:
                pause = _NOT_SOON
            # the log is written a moment before the transaction can be seen
            pause = _SOON if self._bell.doze(pause) else min(2 * pause, _NOT_SOON)
        with gate.inside():
            self._db.close()
        with self._end:  # it has been rung
            self._bell.close()

    def _nobody_waits(self) -> bool:
        # Asleep first: who comes after the question finds it so, and rings.
        self._asleep = True
        if self._waiting or self._sinks:
            self._asleep = False
        return self._asleep

    def _look(self, seen: int | None) -> int | None:
        """Report what has changed, if anything has."""
        try:
            version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != seen or self._news.is_behind:
                self._arrivals.notify()
                for records in self._news.read(self._sinks):
                    self._loop.call_soon(self._sinks.dispatch, records)
        except sqlite3.Error:  # in the way of another process: the verbs will say what is wrong
            return None
        return version
