"""An app in memory whose time the test moves, and a worker for it."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from chicory import Chicory, Worker, WorkerConfig
from chicory.testing.clock import ManualClock


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path):
    # a .env or a variable of whoever runs the tests must not decide how they end
    for name in list(os.environ):
        if name.startswith("CHICORY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def app(clock) -> Iterator[Chicory]:
    return Chicory("memory://", clock=clock)


@pytest.fixture
def working():
    """A context in which a worker runs what the app publishes."""

    @asynccontextmanager
    async def work(app: Chicory, **settings) -> AsyncIterator[Worker]:
        config = WorkerConfig(concurrency=4, **settings)
        async with app, Worker(app, config=config) as worker:
            yield worker

    return work
