"""Workers in this process, on the transport in memory, in a time that stands still."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from chicory import Chicory, Worker, WorkerConfig
from chicory.clock import SystemClock
from chicory.signal import Signal
from chicory.testing.clock import ManualClock
from chicory.testing.memory import forget

sys.path.append(str(Path(__file__).parent))

from cable import Cable, CabledTransport

PATIENCE = 60


class Log(logging.Handler):
    """What chicory logs, and the means to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._signal = Signal(SystemClock())

    def emit(self, record):
        self.lines.append(record.getMessage())
        self._signal.notify()

    def count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    async def heard(self, text: str, times: int = 1) -> None:
        while True:
            seen = self._signal.version
            if self.count(text) >= times:
                return
            await self._signal.wait(seen)


@pytest.fixture
def log():
    handler, logger = Log(), logging.getLogger("chicory")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def url():
    name = uuid4().hex
    yield f"memory://{name}"
    forget(name)


@pytest.fixture
async def app(url, clock) -> AsyncIterator[Chicory]:
    app = Chicory(url, clock=clock)
    yield app
    await app.disconnect()


@pytest.fixture
async def cable(app) -> AsyncIterator[Cable]:
    """What lies between the app, its workers and their broker; whole again at the end."""
    cable = Cable()
    app.broker_link.template = CabledTransport.over(app.broker_link.template, cable)
    yield cable
    cable.mend()


@pytest.fixture
def working(app):
    """``async with working(concurrency=2) as worker``; stopped at the end, without waiting."""

    @asynccontextmanager
    async def working(*, on: Chicory = app, queues=None, **settings) -> AsyncIterator[Worker]:
        worker = Worker(on, WorkerConfig(**settings), queues=queues)
        with anyio.fail_after(PATIENCE):
            await worker.start()
            try:
                yield worker
            finally:
                with anyio.CancelScope(shield=True):
                    await worker.stop(timeout=0)

    return working
