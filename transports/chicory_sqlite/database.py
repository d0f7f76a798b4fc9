"""A connection to the database file, with the tables in it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

from chicory.errors import ConfigurationError
from chicory_sqlite.address import Address
from chicory_sqlite.forking import Connection, gate
from chicory_sqlite.mounts import network_filesystem_of
from chicory_sqlite.statements import load
from chicory_sqlite.translation import is_busy

SCHEMA = 3
"""The version of the tables that this chicory reads and writes."""

_OLDEST = (3, 35, 0)
_CACHE = -8_000  # KiB, negative by SQLite's convention
_CHECKPOINT = 4000  # pages: a log of 16 MB; with SQLite's 1000 a fifth of the time goes into fsync
_SCHEMA_SQL = load("schema")
_TEMPORARY_SQL = load("temporary")
_SQL = load("session")

# Closing any descriptor of a file drops all of the process's POSIX locks on it, SQLite's too: so
# no connection of this process may be opened while another thread creates the file.
_creation = threading.Lock()


def connect(address: Address, *, create: bool = True) -> sqlite3.Connection:
    """Open the database for writing, creating file and tables where they are missing.

    Raises:
        ConfigurationError: it cannot be used as it is; then it has not been touched. Or it is
            not there, and ``create`` is False.
        sqlite3.Error: anything that SQLite says.
    """
    _check_library()
    _check_path(address.path)
    if not create and not address.path.exists():
        raise ConfigurationError(
            f"there is no file {address.path}: check the name; a producer or a worker makes it"
        )
    with _creation:
        _create_file(address.path)
        db = _connect(address)
    try:
        _check_version(db, address.path)
        _configure(db, address)
        _create_tables(db, address)
        for statement in _TEMPORARY_SQL.values():
            db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(address: Address) -> sqlite3.Connection:
    """Open a second connection for reading only, while the first one is open."""
    with _creation:
        db = _connect(address)
    db.execute("PRAGMA query_only = ON")
    return db


def _connect(address: Address) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address.path,
        timeout=address.busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=Connection,
    )
    gate.note(connection)
    return connection


def _check_library() -> None:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationError(
            f"Python was built with SQLite {sqlite3.sqlite_version}; chicory needs 3.35 or newer: "
            "use a newer Python, or a broker with a server"
        )


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory: name a file in it")
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder {path.parent} does not exist: create it first")
    kind = network_filesystem_of(path)
    if kind is not None:
        raise ConfigurationError(
            f"{path} is on a network filesystem ({kind}), where SQLite loses data: "
            "put it on a local disk, or use a broker with a server"
        )
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise ConfigurationError(f"{path} cannot be read and written: check its permissions")


def _create_file(path: Path) -> None:
    """Make an empty file that only its owner reads; SQLite gives the log the same mode."""
    try:
        target = path.resolve()  # where a link leads nowhere yet SQLite makes a file for all
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be created ({error.strerror}): choose a folder that can be written"
        ) from error


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = _version(db)
    if version is not None and version > SCHEMA:
        raise ConfigurationError(
            f"{path} was written by a newer chicory (schema {version}; this one knows {SCHEMA}): "
            "upgrade chicory"
        )


def _version(db: sqlite3.Connection) -> int | None:
    if not db.execute(_SQL["has_meta"]).fetchone()[0]:
        return None
    row = db.execute(_SQL["version"]).fetchone()
    return None if row is None else int(row[0])


def _configure(db: sqlite3.Connection, address: Address) -> None:
    _use_write_ahead_log(db, address)
    db.execute(f"PRAGMA synchronous = {address.synchronous}")
    db.execute(f"PRAGMA cache_size = {_CACHE}")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    db.execute("PRAGMA secure_delete = OFF")  # some systems build it in: it doubles the writes
    db.execute("PRAGMA temp_store = MEMORY")


def _use_write_ahead_log(db: sqlite3.Connection, address: Address) -> None:
    deadline = time.monotonic() + address.busy_timeout
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite does not wait here, where two could wait for one another for ever
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
            continue
        if mode != "wal":
            raise ConfigurationError(
                f"{address.path}: SQLite cannot keep a write-ahead log there (journal_mode={mode}):"
                " choose a file on a local disk"
            )
        return


def _create_tables(db: sqlite3.Connection, address: Address) -> None:
    if _version(db) == SCHEMA:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        _check_version(db, address.path)  # another process may have been quicker, and newer
        before = _version(db)
        for statement in _SCHEMA_SQL.values():
            db.execute(statement)
        if before == 1:
            db.execute(_SQL["letters_of_schema_1"])
        db.execute(_SQL["timer_of_schema_2"])
        db.execute(_SQL["set_version"], (SCHEMA,))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK") if db.in_transaction else None
        raise
