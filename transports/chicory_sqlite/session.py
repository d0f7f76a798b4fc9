"""What one operation works with: the connection, the namespace, the time, and fresh numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

from chicory.transport import TransportSettings
from chicory_sqlite.address import Address
from chicory_sqlite.database import connect
from chicory_sqlite.forking import gate
from chicory_sqlite.statements import load, widen
from chicory_sqlite.turn import turn

_SQL = load("session")
_WIDEST = 256
_RESERVE = 10


class Session:
    """The writing connection; used by the writer's thread only.

    Attributes:
        ns: the number of the namespace.
        lease: seconds that a lease lasts.
        roused: whether the transaction may have made messages ready to be fetched.
    """

    def __init__(self, address: Address, settings: TransportSettings) -> None:
        self._clock = settings.clock
        self._queues: dict[str, int] = {}
        self._tight: bool | None = None
        self.lease = settings.lease
        self.roused = False
        with gate.inside():
            self._db = connect(address, create=settings.create)
            self._turn = turn(address.path)
            self._limits = _limits(self._db, address)
            self.ns = self._namespace(settings.namespace)

    def close(self) -> None:
        """Close the connection."""
        with gate.inside():
            self._db.close()
            self._turn.close()

    def now(self) -> float:
        """The clock's time."""
        return self._clock.now()

    def take(self) -> None:
        """Wait for one's turn to write; enough for a statement that is a transaction of its own."""
        self._turn.take()

    def give(self) -> None:
        """Let the next one write."""
        self._turn.give()

    def begin(self) -> None:
        """Take the write lock."""
        self.take()
        self._db.execute("BEGIN IMMEDIATE")
        self.roused = False

    def commit(self) -> None:
        """Make the transaction durable."""
        self._db.execute("COMMIT")
        self.give()

    def rollback(self) -> None:
        """Undo the transaction, where one is open."""
        self._queues.clear()
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        finally:
            self.give()

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Several looks at one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def limit(self, *, tight: bool) -> None:
        """Hold the file to ``max_size``; ``tight`` leaves the last tenth for others' use."""
        if self._limits is not None and tight != self._tight:
            self._tight = tight
            self.run(f"PRAGMA max_page_count = {self._limits[tight]}")

    def run(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Execute a statement; how many rows it changed."""
        before = self._db.total_changes  # a cursor's own count knows no statement that is WITH ...
        self._db.execute(sql, parameters).close()
        return self._db.total_changes - before

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first column of the first row, ``None`` where there is no row."""
        row = self.row(sql, parameters)
        return None if row is None else row[0]

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first row, ``None`` where there is none."""
        with closing(self._db.execute(sql, parameters)) as cursor:
            return cursor.fetchone()

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows."""
        return self._db.execute(sql, parameters).fetchall()

    def run_all(self, sql: str, rows: Sequence[Sequence[Any]], common: Sequence[Any] = ()) -> int:
        """Execute a statement of the ``VALUES`` of one row for all rows; how many it changed.

        ``common``: parameters that follow those of the rows.

        Many at once, for each call to SQLite is a handover of Python's interpreter lock, which
        costs up to 5 ms while the event loop is busy. In powers of two: few statements to compile.
        """
        start, changed = 0, 0
        while start < len(rows):
            width = min(_WIDEST, 1 << ((len(rows) - start).bit_length() - 1))
            part = rows[start : start + width]
            changed += self.run(widen(sql, width), [*chain.from_iterable(part), *common])
            start += width
        return changed

    def allocate(self, count: int) -> int:
        """Take that many numbers that were never used; answers the first."""
        return self.value(_SQL["allocate"], (count,)) - count + 1

    def last_seq(self) -> int:
        """The last number taken."""
        return self.value(_SQL["last_seq"])

    def queue(self, name: str) -> int:
        """The number of a queue, given to it now if need be; only in a transaction."""
        number = self.known_queue(name)
        if number is None:
            self.run(_SQL["add_queue"], (self.ns, name))
            number = self.known_queue(name)
        assert number is not None
        return number

    def known_queue(self, name: str) -> int | None:
        """The number of a queue, if it has one."""
        number = self._queues.get(name)
        if number is None:
            number = self.value(_SQL["queue"], (self.ns, name))
            if number is not None:
                self._queues[name] = number
        return number

    def _namespace(self, name: str) -> int:
        number = self.value(_SQL["namespace"], (name,))
        if number is None:
            self.run(_SQL["add_namespace"], (name,))
            number = self.value(_SQL["namespace"], (name,))
        return number


def _limits(db: sqlite3.Connection, address: Address) -> tuple[int, int] | None:
    """Pages the file may have: for settling, and, so that this never fails, less for publishing."""
    if address.max_size is None:
        return None
    pages = address.max_size // db.execute("PRAGMA page_size").fetchone()[0]
    return pages, pages - pages // _RESERVE
