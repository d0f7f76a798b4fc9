"""What a task costs in Python: calls of functions, counted on the event loop's thread, not timed.

The bars are a tenth above what was counted when they were set, and hold on any machine: the
worker's clock moves with its work here, so that how fast it is makes no difference. To start a
task, or to take a lock, is a hundred calls. Where a bar is in the way of something that is worth
its cost, set it anew; where there is room below it, lower it.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, SimpleNamespace

import pytest
from anyio import Event, create_task_group, fail_after

from chicory import Chicory, Worker, WorkerConfig

TASKS = 2048
CALLERS = 32
DEADLINE = 60
ROOM = 1.1
COUNTED = {
    "asyncio": {"alone": 77, "together": 79, "in bulk": 73, "run": 118},
    "trio": {"alone": 77, "together": 79, "in bulk": 73, "run": 124},
}
"""For each task: to send it alone, by 32 callers at once, in bulk; to run and settle it.

On Python 3.11; 3.12 and 3.13 make up to three calls fewer.
"""


class Calls:
    """Functions called in this thread, those of the language and of C alike."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Generator[None]:
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        self.count += event in {"call", "c_call"}


class Workload:
    """No-ops, and the news that all of them have run."""

    def __init__(self, **options: bool) -> None:
        self.app = Chicory("memory://")
        self.task = self.app.task(name="noop", **options)(self.run)
        self._finished = Event()
        self._left = 0

    async def run(self) -> None:
        self._left -= 1
        if not self._left:
            self._finished.set()

    async def send(self, times: int) -> None:
        for _ in range(times):
            await self.task.send()

    async def send_together(self) -> None:
        async with create_task_group() as group:
            for _ in range(CALLERS):
                group.start_soon(self.send, TASKS // CALLERS)

    async def send_in_bulk(self) -> None:
        await self.app.enqueue_many(self.task.call() for _ in range(TASKS))

    async def drain(self) -> None:
        self._finished, self._left = Event(), TASKS
        with fail_after(DEADLINE):
            async with Worker(self.app, WorkerConfig(concurrency=CALLERS)):
                await self._finished.wait()


@pytest.fixture(autouse=True)
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's pace as that of a machine which is always equally fast."""
    microseconds = itertools.count(10**9)
    clock = SimpleNamespace(monotonic=lambda: next(microseconds) / 1e6)
    for module in ("slots", "pace", "intake", "custody", "workbench"):
        monkeypatch.setattr(f"chicory.worker.{module}.time", clock)


@pytest.fixture
def bar(anyio_backend: str) -> dict[str, float]:
    return {step: ROOM * calls for step, calls in COUNTED[anyio_backend].items()}


@pytest.fixture
async def load():
    load = Workload()
    async with load.app:
        yield load


async def counted(work, *args) -> float:
    calls = Calls()
    with calls.counted():
        await work(*args)
    return calls.count / TASKS


async def test_to_send_a_call_costs_as_much_as_it_did(load, bar):
    assert await counted(load.send, TASKS) <= bar["alone"]


async def test_to_send_calls_at_the_same_time_costs_as_much_as_it_did(load, bar):
    assert await counted(load.send_together) <= bar["together"]


async def test_to_send_calls_in_bulk_costs_as_much_as_it_did(load, bar):
    assert await counted(load.send_in_bulk) <= bar["in bulk"]


async def test_to_run_a_task_costs_as_much_as_it_did(load, bar):
    await load.send_in_bulk()
    assert await counted(load.drain) <= bar["run"]


async def test_nothing_is_kept_of_a_task_whose_result_nobody_wants():
    load = Workload(ignore_result=True)
    async with load.app:
        kept: list[int] = []
        for _ in range(3):
            await load.send_in_bulk()
            await load.drain()
            gc.collect()
            kept.append(sys.getallocatedblocks())

    assert (kept[-1] - kept[0]) / (2 * TASKS) <= 0.1
