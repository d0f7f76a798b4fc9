"""SQLite's errors as chicory's: the one place where they are told apart."""

from __future__ import annotations

import sqlite3

from chicory.errors import BrokerConnectionError, ChicoryError, ConfigurationError, QueueFullError
from chicory_sqlite.address import Address

_PRIMARY = 0xFF
_NOT_A_DATABASE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection was in the way, so that trying again helps."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def translated(error: sqlite3.Error, address: Address) -> ChicoryError:
    """The error to raise from ``error``: one sentence that names the file and the next step."""
    path, code = address.path, _code(error)
    if is_busy(error):
        return BrokerConnectionError(
            f"{path}: another process kept the database locked for more than "
            f"{address.busy_timeout:g} s (busy_timeout); try again"
        )
    if code == sqlite3.SQLITE_FULL or _full_code(error) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return QueueFullError(f"{path}: no room left, {_limit(address)}; nothing was stored")
    if code in _NOT_A_DATABASE:
        return ConfigurationError(f"{path} is not an SQLite database: choose another file")
    if code in _DENIED:
        return ConfigurationError(f"{path} cannot be written: check its permissions")
    if code == sqlite3.SQLITE_CORRUPT:
        return BrokerConnectionError(f"{path} is damaged: restore it, or start a new one ({error})")
    return BrokerConnectionError(f"{path}: {error}")


def _limit(address: Address) -> str:
    if address.max_size is None:
        return "the disk is full"
    return f"the file has reached max_size={address.max_size} bytes or the disk is full"


def _full_code(error: sqlite3.Error) -> int:
    # errors that Python's module raises by itself (a closed connection) carry no code
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def _code(error: sqlite3.Error) -> int:
    return _full_code(error) & _PRIMARY
