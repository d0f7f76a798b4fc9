"""The floor under a bulk on SQLite: the same rows, put into an empty file by the module alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.job import Figures
from benchmarks.processor import Span

_SETTINGS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
"""Those of chicory's files."""


def insert_again(path: str, batch: int) -> Figures:
    """What ``executemany`` takes for the messages of a file, a transaction for each batch.

    Into an empty one beside it, with the same table and indexes.
    """
    with closing(sqlite3.connect(path)) as laden:
        tables = laden.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'chicory_message' AND sql IS NOT NULL"
        ).fetchall()
        rows = laden.execute("SELECT * FROM chicory_message").fetchall()
    insert = f"INSERT INTO chicory_message VALUES ({', '.join('?' * len(rows[0]))})"
    twin = Path(path).with_suffix(".twin")
    with closing(sqlite3.connect(twin, isolation_level=None)) as empty:
        empty.executescript(_SETTINGS + ";".join(sql for (sql,) in tables))
        span = Span(server=0)
        for first in range(0, len(rows), batch):
            empty.execute("BEGIN IMMEDIATE")
            empty.executemany(insert, rows[first : first + batch])
            empty.execute("COMMIT")
        span.end()
    return {
        "enqueue rows": len(rows) / span.seconds,
        "enqueue rows cpu": 1e6 * span.ours / len(rows),
    }
