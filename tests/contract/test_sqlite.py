"""The contract, for SQLite."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import chicory_sqlite.database
from chicory.testing.contract import Harness, TransportContract
from chicory.transport import TransportSettings
from chicory_sqlite import SQLiteTransport


class SQLiteHarness(Harness):
    """A file. To restart it is to open it again."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.url = f"sqlite:///{path}"
        self.statements = 0
        self._made: list[SQLiteTransport] = []

    def make(self, settings: TransportSettings) -> SQLiteTransport:
        self._made.append(SQLiteTransport(settings))
        return self._made[-1]

    async def restart(self) -> None:
        for transport in self._made:
            await transport.close()

    def round_trips(self) -> int:
        return self.statements

    def count(self, statement: str) -> None:
        # a glance at shared memory: what stands for a server's push where there is no server
        self.statements += statement != "PRAGMA data_version"


class TestSQLite(TransportContract):
    @pytest.fixture
    async def harness(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Harness]:
        harness = SQLiteHarness(tmp_path / "chicory.db")
        connect = chicory_sqlite.database._connect

        def connect_and_count(address: object) -> sqlite3.Connection:
            connection = connect(address)
            connection.set_trace_callback(harness.count)
            return connection

        monkeypatch.setattr(chicory_sqlite.database, "_connect", connect_and_count)
        async with harness:
            yield harness
