"""A module of tasks that other processes can import, a worker for it, and what it logs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest
from unit.log import Log, logged
from unit.working import at_work

from chicory import Worker, WorkerConfig
from chicory.testing.memory import forget

sys.path.append(str(Path(__file__).parent))

PATIENCE = 120
SOURCE = Path(__file__).with_name("crafts.py")


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
def log() -> Iterator[Log]:
    with logged(logging.INFO) as log:
        yield log


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

    def working(**settings) -> AbstractAsyncContextManager:
        config = WorkerConfig(**{"processes": 2, "concurrency": 4} | settings)
        return at_work(Worker(crafts.app, config), PATIENCE)

    return working
