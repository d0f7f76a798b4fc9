"""Lines that are logged while a task runs, and what they say of it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from contextvars import copy_context

import anyio
import pytest
from anyio import create_task_group, to_thread

from chicory import RetryPolicy
from chicory.logs import NO_TASK, TaskLabels, current
from chicory.transport import Publication
from chicory.worker.slots import Slots

mine = logging.getLogger("some.program.of.mine")
LABELS = ("task", "task_id", "attempt", "queue")


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(TaskLabels())

    def emit(self, record):
        self.records.append(record)

    def labels(self, text: str) -> list[tuple]:
        return [
            tuple(getattr(record, name) for name in LABELS)
            for record in self.records
            if text in record.getMessage()
        ]


@contextmanager
def listening(name):
    handler, logger = Kept(), logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def kept():
    with listening("some") as handler:
        yield handler


@pytest.fixture
def ours():
    with listening("chicory") as handler:
        yield handler


async def test_what_a_task_logs_says_which_one_it_is(app, working, kept):
    @app.task(name="eager", queue="fast")
    async def eager() -> None:
        mine.info("async")
        await anyio.lowlevel.checkpoint()
        mine.info("async")
        await to_thread.run_sync(mine.info, "thread of async")
        async with create_task_group() as group:
            group.start_soon(whisper)

    async def whisper() -> None:
        mine.info("child of async")

    @app.task(name="plain", queue="fast")
    def plain() -> None:
        mine.info("plainly")

    async with working(queues=["fast"]):
        first, second = await eager.delay(), await plain.delay()
        await first.get()
        await second.get()
        mine.info("outside")

    of_first, of_second = (
        ("eager", first.task_id, 1, "fast"),
        ("plain", second.task_id, 1, "fast"),
    )
    assert kept.labels("async") == [of_first] * 4
    assert kept.labels("plainly") == [of_second]
    assert kept.labels("outside") == [("", "", "", "")]


async def test_each_of_many_at_once_has_its_own(app, working, kept):
    @app.task(name="count")
    async def count(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        mine.info("number %d.", number)

    async with working(concurrency=8):
        handles = [await count.delay(number) for number in range(30)]
        await app.gather(handles)

    for number, handle in enumerate(handles):
        assert kept.labels(f"number {number}.") == [("count", handle.task_id, 1, "default")]


async def test_attempts_are_numbered_from_one(app, working, clock, kept, ours):
    @app.task(name="late", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def late() -> None:
        mine.info("trying")
        raise ValueError("bad")

    async with working():
        handle = await late.delay()
        while not await handle.failed():
            await anyio.lowlevel.checkpoint()

    of_first, of_second = (("late", handle.task_id, number, "default") for number in (1, 2))
    assert kept.labels("trying") == [of_first, of_second]
    assert ours.labels("failed, next attempt") == [of_first]
    assert ours.labels("is a dead letter") == [of_second]


async def test_what_cannot_be_decoded_is_told_with_what_is_known(app, working, ours):
    session = await app.broker_link.session()
    await session.transport.publish([Publication("default", "17", b"nonsense")])

    async with working():
        while not await app.broker.get_dlq_count():
            await anyio.lowlevel.checkpoint()

    assert ours.labels("dead letter") == [("", "17", "", "default")]


async def test_what_goes_on_after_its_task_still_names_that_one(app, working, kept):
    gate, done = threading.Event(), threading.Event()

    def linger() -> None:
        gate.wait(20)
        mine.info("late")
        done.set()

    @app.task(name="leave")
    async def leave() -> None:
        threading.Thread(target=copy_context().run, args=(linger,), daemon=True).start()

    @app.task(name="next")
    async def following() -> None: ...

    async with working(concurrency=1):
        first = await leave.delay()
        await first.get()
        await (await following.delay()).get()
        gate.set()
        await to_thread.run_sync(done.wait, 20)

    assert kept.labels("late") == [("leave", first.task_id, 1, "default")]


async def test_a_slot_outlives_the_labels_of_its_tasks(app, working, monkeypatch):
    started = []
    slot = Slots._slot

    async def counted(self):
        started.append(1)
        await slot(self)

    monkeypatch.setattr(Slots, "_slot", counted)

    @app.task(name="quick")
    async def quick() -> bool:
        return current.get() is NO_TASK

    async with working(concurrency=1):
        seen = [await (await quick.delay()).get() for _ in range(5)]

    assert seen == [False] * 5
    assert len(started) == 1
    assert current.get() is NO_TASK
