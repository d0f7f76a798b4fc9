"""The embedded transport: a queue in one SQLite file, no server."""
