"""A folder with a module of tasks in it, as a user has one."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from servers.brokers import BROKERS, broker, nats_url, no_settings, redis_url

from chicory.cli import main
from chicory.testing.memory import forget

__all__ = ["broker", "nats_url", "no_settings", "redis_url"]  # fixtures

TASKS = """
import os
from dataclasses import dataclass
from decimal import Decimal
import anyio
from chicory import Chicory, RetryPolicy, TaskContext

app = Chicory()

@dataclass
class Point:
    x: int
    y: int = 0

@app.task()
async def add(a: int, b: int = 1) -> int:
    return a + b

@app.task()
def greet(ctx: TaskContext, name: str, loud: bool = False) -> str:
    return name.upper() if loud else name

@app.task()
def mirror(point: Point) -> Point:
    return Point(point.y, point.x)

class Money:
    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount, self.currency = amount, currency

def to_text(money: Money) -> str:
    return f"{money.amount} {money.currency}".strip()

def from_text(text: str) -> Money:
    amount, _, currency = text.partition(" ")
    return Money(Decimal(amount), currency)

app.register_type(Money, via=str, encode=to_text, decode=from_text)

@app.task()
def double(price: Money) -> list[Money]:
    return [Money(2 * price.amount, price.currency)]

@app.task()
def boom() -> None:
    raise ValueError("no [bold]luck[/bold]")

@app.task()
async def trip() -> None:
    raise ValueError("tripped")

@app.task()
def pid() -> int:
    return os.getpid()

@app.task(queue="slow")
async def linger(path: str) -> str:
    open(path, "w").close()
    await anyio.sleep_forever()
    return path
"""


@pytest.fixture(params=["memory", *BROKERS])
def url(request: pytest.FixtureRequest, tmp_path: Path, no_settings: None) -> Iterator[str]:
    """Of a broker on each transport, for an app with a namespace of its own."""
    match request.param:
        case "memory":
            name = uuid4().hex
            yield f"memory://{name}"
            forget(name)
        case "sqlite":
            yield f"sqlite:///{tmp_path / 'app.db'}"
        case server:
            yield request.getfixturevalue(f"{server}_url")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_settings: None) -> Iterator[Path]:
    (tmp_path / "tasks.py").write_text(TASKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def chicory(folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        code = main(words)
        return Said(code, *capfd.readouterr())

    return run


@pytest.fixture
def beating(chicory: Callable[..., Said]) -> Callable[[int], list[dict[str, Any]]]:
    """The workers, once so many have sent a heartbeat: they work before their first one."""

    def ask(count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 90
        while len(rows := json.loads(chicory("workers", "tasks", "--json").out)) < count:
            assert time.monotonic() < deadline
        return rows

    return ask


class WorkerProcess:
    """A ``chicory worker`` of this test."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder / f"worker-{len(list(folder.glob('worker-*')))}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "chicory.cli", "worker", *words],
                cwd=folder,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(timeout=90)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(*words: str) -> WorkerProcess:
        started.append(WorkerProcess(folder, *words))
        return started[-1]

    yield start
    for each in started:
        each.end()
