"""A module of tasks that other processes can import, a worker for it, and what it logs."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from chicory import Worker, WorkerConfig
from chicory.clock import SystemClock
from chicory.signal import Signal
from chicory.testing.memory import forget

sys.path.append(str(Path(__file__).parent))

PATIENCE = 120
SOURCE = Path(__file__).with_name("crafts.py")


class Log(logging.Handler):
    """What is logged, and the means to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._signal = Signal(SystemClock())

    def emit(self, record):
        self.records.append(record)
        self._signal.notify()

    def find(self, text: str) -> list[logging.LogRecord]:
        return [record for record in self.records if text in record.getMessage()]

    async def heard(self, text: str, times: int = 1) -> list[str]:
        """The words of the line in which this is said for that time."""
        while True:
            seen = self._signal.version
            if len(found := self.find(text)) >= times:
                return found[times - 1].getMessage().split()
            await self._signal.wait(seen)


class Gate:
    """What a task in another process waits at."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._writers: list[int] = []

    def open(self) -> None:
        """Let all through, also those that come later."""
        self._writers.append(os.open(self.path, os.O_WRONLY))

    def close(self) -> None:
        for writer in self._writers:
            os.close(writer)


@pytest.fixture
def log():
    handler, logger = Log(), logging.getLogger("chicory")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
async def crafts(tmp_path, monkeypatch):
    name = f"crafts_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(SOURCE.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module(name)
    yield module
    await module.app.disconnect()
    forget(name)
    del sys.modules[name]


@pytest.fixture
def working(crafts):
    """``async with working(processes=1) as worker``; stopped at the end, without waiting."""

    @asynccontextmanager
    async def working(**settings):
        worker = Worker(crafts.app, WorkerConfig(**{"processes": 2, "concurrency": 4} | settings))
        with anyio.fail_after(PATIENCE):
            await worker.start()
            try:
                yield worker
            finally:
                with anyio.CancelScope(shield=True):
                    await worker.stop(timeout=0)

    return working
