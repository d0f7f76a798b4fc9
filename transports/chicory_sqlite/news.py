"""New records, read in the order in which they were committed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence

from msgspec import json

from chicory.clock import Clock
from chicory_sqlite.packing import INLINE, array
from chicory_sqlite.records import Stored
from chicory_sqlite.sinks import Sinks
from chicory_sqlite.statements import load

_SQL = load("records")
_LAST_SEQ = load("session")["last_seq"]
_AT_ONCE = 2000


class News:
    """A place in the sequence of records. Read by one thread, moved by another one."""

    def __init__(self, db: sqlite3.Connection, namespace: int, clock: Clock) -> None:
        self._db = db
        self._namespace = namespace
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._last = 0

    @property
    def is_behind(self) -> bool:
        """Whether there was more to read at the last reading, which began further on."""
        with self._lock:
            return self._seen is not None and self._seen < self._last

    def follow(self, seq: int) -> None:
        """Begin after this number; those followed already go on, seeing some records again."""
        with self._lock:
            self._seen = seq if self._seen is None else min(seq, self._seen)

    def unfollow(self) -> None:
        """Stop."""
        with self._lock:
            self._seen = None

    def read(self, sinks: Sinks) -> Generator[Sequence[Stored]]:
        """The records that sinks wait for, of those that came since the last time."""
        last = self._db.execute(_LAST_SEQ).fetchone()[0]
        with self._lock:  # who follows from now on can tell what this reading passed over
            self._last = last
        while (seen := self._seen) is not None and seen < last:
            came = self._came(seen, last)
            wanted = sinks.wanted(came)
            if wanted:
                yield self._stored([seq for seq, _ in wanted])
            self._move(seen, last if len(came) < _AT_ONCE else came[-1][0])

    def _came(self, seen: int, last: int) -> Sequence[tuple[int, str]]:
        parameters = {
            "after": seen,
            "last": last,
            "ns": self._namespace,
            "now": self._clock.now(),
            "limit": _AT_ONCE,
        }
        found = self._db.execute(_SQL["news"], parameters).fetchone()[0]
        return json.decode(found, type=list[tuple[int, str]])

    def _stored(self, seqs: Sequence[int]) -> Sequence[Stored]:
        parameters = {"seqs": array(seqs), "inline": INLINE}
        found = self._db.execute(_SQL["bodies"], parameters).fetchone()[0]
        rows = json.decode(found, type=list[tuple[int, str, str | None]])
        read = ((seq, task_id, self._body(seq, body)) for seq, task_id, body in rows)
        return [Stored(seq, task_id, body) for seq, task_id, body in read if body is not None]

    def _body(self, seq: int, inline: str | None) -> bytes | None:
        if inline is not None:
            return bytes.fromhex(inline)
        row = self._db.execute(_SQL["body"], (seq,)).fetchone()
        return None if row is None else row[0]  # it was replaced: the newer one is still to come

    def _move(self, seen: int, to: int) -> None:
        with self._lock:
            if self._seen == seen:
                self._seen = to
