"""What a call can carry, through a real worker on every transport: the same words everywhere.

The leases are so long that none is renewed while a test runs: what is cancelled where it runs was
pushed. What is a matter of the port alone is in the contract.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import pytest
from anyio import Event, from_thread, sleep_forever

from chicory import (
    Cancelled,
    Chicory,
    ChicoryConfig,
    Refused,
    RetryPolicy,
    TaskCancelledError,
    TaskContext,
    TaskError,
    TaskState,
    Worker,
    WorkerConfig,
)

LEASE = 600.0
PATIENCE = 60


@pytest.fixture
async def app(url: str) -> AsyncIterator[Chicory]:
    app = Chicory(url, config=ChicoryConfig(lease=LEASE, namespace=uuid4().hex))
    with anyio.fail_after(PATIENCE):
        async with app:
            yield app


@asynccontextmanager
async def working(app: Chicory) -> AsyncIterator[Worker]:
    worker = Worker(app, WorkerConfig(concurrency=4))
    async with worker:
        try:
            yield worker
        finally:
            await worker.stop(timeout=0)


async def test_a_running_call_is_cancelled_at_once(app):
    begun = Event()

    @app.task(name="long")
    async def long() -> None:
        begun.set()
        await sleep_forever()

    async with working(app):
        handle = await long.delay()
        await begun.wait()
        answer = await handle.cancel()
        with pytest.raises(TaskCancelledError, match="cancelled on request"):
            await handle.get()

        assert answer is Cancelled.REQUESTED
        assert await handle.state() is TaskState.CANCELLED
        assert await handle.cancel() is Cancelled.ABSENT


async def test_a_running_call_in_a_thread_is_cancelled_at_once_and_told(app):
    begun, seen = Event(), Event()
    gate = threading.Event()

    @app.task(name="blocking")
    def blocking(ctx: TaskContext) -> None:
        from_thread.run_sync(begun.set)
        gate.wait(PATIENCE)
        if ctx.cancelled:
            from_thread.run_sync(seen.set)

    async with working(app):
        handle = await blocking.delay()
        await begun.wait()
        await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle.get()
        gate.set()
        await seen.wait()


async def test_a_delayed_call_is_cancelled_and_never_begins(app):
    @app.task(name="later")
    async def later() -> None: ...

    waiting = await later.delay()
    delayed = await later.options(delay=30 * 86_400).delay()
    dated = await later.options(eta=datetime.now(UTC) + timedelta(days=300)).delay()

    assert [await one.cancel() for one in (waiting, delayed, dated)] == [Cancelled.REMOVED] * 3
    for one in (waiting, delayed, dated):
        with pytest.raises(TaskCancelledError):
            await one.get()
        assert await one.cancel() is Cancelled.ABSENT
    counts = (await app.broker.counts(["default"]))["default"]
    assert (counts.ready, counts.delayed, counts.leased) == (0, 0, 0)


async def test_a_unique_key_is_held_until_its_call_is_settled_whatever_that_is(app):
    begun, gate = [Event() for _ in range(4)], Event()

    @app.task(name="once", unique=lambda way, number: f"way {way}")
    async def once(way: str, number: int) -> int:
        begun[number].set()
        if way == "dies":
            await gate.wait()
            raise ValueError(way)
        if way == "is cancelled":
            await sleep_forever()
        await gate.wait()
        return number

    async with working(app):
        handles = {}
        for number, way in enumerate(["returns", "dies", "is cancelled"]):
            handles[way] = await once.delay(way, number)
            await begun[number].wait()
            again = await once.delay(way, 3)
            assert again.duplicate
            assert again.task_id == handles[way].task_id == await once.send(way, 3)
        gate.set()
        await handles["is cancelled"].cancel()
        assert await handles["returns"].get() == 0
        with pytest.raises(TaskError):
            await handles["dies"].get()
        with pytest.raises(TaskCancelledError):
            await handles["is cancelled"].get()

        for way in ("returns", "dies", "is cancelled"):
            later = await once.delay(way, 3)
            assert not later.duplicate
            await later.cancel()


async def test_an_expired_call_frees_its_key(app):
    @app.task(name="brief", unique="only")
    async def brief() -> None: ...

    handle = await brief.options(expires=1e-6).delay()
    assert (await brief.delay()).task_id == handle.task_id
    async with working(app):
        with pytest.raises(TaskError, match="expired"):
            await handle.get()
        fresh = await brief.delay()
        assert not fresh.duplicate
        await fresh.get()


async def test_what_a_call_carries_reaches_the_worker(app):
    @app.task(name="carry", timeout=1e-6, headers={"who": "task", "why": "test"})
    async def carry(ctx: TaskContext) -> tuple[dict[str, str], int]:
        await anyio.lowlevel.checkpoint()
        if ctx.retries < 2:
            raise KeyError(ctx.retries)
        return dict(ctx.headers), ctx.max_retries

    patient = carry.options(
        timeout=None,
        retry_policy=RetryPolicy(max_retries=2, retry_delay=0, retry_on=[LookupError]),
        headers={"who": "call"},
        queue="default",
        priority=2,
    )
    async with working(app):
        assert await (await patient.delay()).get() == ({"who": "call", "why": "test"}, 2)
        with pytest.raises(TaskError, match="ran longer than its limit"):
            await (await carry.delay()).get()
        with pytest.raises(TaskError, match="KeyError"):
            await (await patient.options(retry_policy=None).delay()).get()


async def test_strict_priorities_of_calls(app):
    ran: list[str] = []

    @app.task(name="note")
    async def note(what: str) -> None:
        ran.append(what)

    await app.broker.pause()
    handles = [
        await note.options(priority=priority, delay=delay).delay(f"{priority} {delay}")
        for delay in (0.0, 0.001)
        for priority in (0, 1, 2)
    ]
    while await app.broker.get_queue_size() < len(handles):  # the broker's own time passes
        await anyio.lowlevel.checkpoint()
    await app.broker.resume()
    async with Worker(app, WorkerConfig(concurrency=1)):
        await app.gather(handles)

    assert [one[0] for one in ran] == ["2", "2", "1", "1", "0", "0"]


async def test_many_calls_at_once(app):
    @app.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    once = double.options(unique="one")
    held = await once.delay(-1)
    calls = (once.call(n) if n == 500 else double.call(n if n != 7 else "7") for n in range(600))
    answers = [one async for one in app.enqueue_many(calls)]

    refused = [one for one in answers if isinstance(one, Refused)]
    handles = [one for one in answers if not isinstance(one, Refused)]
    assert [(one.index, type(one.error).__name__) for one in refused] == [(7, "ValidationError")]
    assert handles[499].task_id == held.task_id
    async with working(app):
        values = await app.gather(handles)
    assert values == [2 * (n if n != 500 else -1) for n in range(600) if n != 7]
