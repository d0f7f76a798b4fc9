"""Workers in this process, on the transport in memory, in a time that stands still."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import pytest
from unit.log import Log, logged
from unit.working import at_work

from chicory import Chicory, Worker, WorkerConfig
from chicory.testing.clock import ManualClock
from chicory.testing.memory import forget

sys.path.append(str(Path(__file__).parent))

from cable import Cable, CabledTransport

PATIENCE = 60


@pytest.fixture
def log() -> Iterator[Log]:
    with logged(logging.DEBUG) as log:
        yield log


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

    def working(*, on: Chicory = app, queues=None, **settings) -> AbstractAsyncContextManager:
        return at_work(Worker(on, WorkerConfig(**settings), queues=queues), PATIENCE)

    return working
