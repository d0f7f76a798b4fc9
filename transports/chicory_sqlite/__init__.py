"""The embedded transport: a queue in one SQLite file, no server."""

from chicory_sqlite.transport import SQLiteTransport

__all__ = ["SQLiteTransport"]
