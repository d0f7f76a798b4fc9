"""Transports on a fresh file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chicory.testing.clock import ManualClock
from chicory.transport import TransportSettings
from chicory_sqlite import SQLiteTransport


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make(path, clock) -> Callable[..., SQLiteTransport]:
    def make(options: str = "", **settings) -> SQLiteTransport:
        settings = {"url": f"sqlite:///{path}{options}", "clock": clock, **settings}
        return SQLiteTransport(TransportSettings(**settings))

    return make
