"""Time limits, and tasks that do not take a cancellation for what it is."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import anyio
import pytest
from anyio import Event, from_thread, sleep_forever

from chicory import RetryPolicy, TaskError
from chicory.context import TaskContext

ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def test_an_async_task_is_cancelled_when_its_time_is_up(app, working):
    cancelled = Event()

    @app.task(name="slow", timeout=0.05)
    async def slow() -> None:
        try:
            await sleep_forever()
        finally:
            cancelled.set()

    async with working():
        with pytest.raises(TaskError, match=r"slow ran longer than its limit of 0.05 s") as caught:
            await (await slow.delay()).get()

    assert caught.value.type_name == "TimeoutError"
    assert cancelled.is_set()


async def test_the_time_is_each_attempts_own(app, working):
    @app.task(name="slow", timeout=30)
    async def slow() -> None:
        await anyio.lowlevel.checkpoint()

    @app.task(name="unlimited")
    async def unlimited() -> float:
        return anyio.current_effective_deadline()

    async with working(concurrency=1):
        await (await slow.delay()).get()
        deadline = await (await unlimited.delay()).get()

    assert deadline == float("inf")


async def test_a_sync_task_counts_as_failed_when_its_time_is_up_though_its_thread_goes_on(
    app, working
):
    begun, gate, ended = Event(), threading.Event(), threading.Event()

    @app.task(name="slow", timeout=1000)
    def slow() -> str:
        from_thread.run_sync(begun.set)
        gate.wait(20)
        ended.set()
        return "too late"

    async with working(concurrency=1) as worker:
        handle = await slow.delay()
        await begun.wait()
        expire(worker)
        with pytest.raises(TaskError, match="ran longer than its limit"):
            await handle.get()
        gate.set()
        await anyio.to_thread.run_sync(ended.wait)
        with pytest.raises(TaskError, match="ran longer than its limit"):
            await handle.get()


def expire(worker) -> None:
    """Have the time of what runs be up."""
    for attempt in worker._run.shift.running:
        attempt.scope.deadline = anyio.current_time()


async def test_threads_that_outlive_their_calls_do_not_keep_later_ones_waiting(app, working):
    gate, begun = threading.Event(), []

    @app.task(name="stuck", timeout=1000)
    def stuck() -> None:
        from_thread.run_sync(begun.append, 1)
        gate.wait(20)

    @app.task(name="quick")
    def quick() -> str:
        return "run"

    async with working(concurrency=2) as worker:
        for number in range(4):
            handle = await stuck.delay()
            while len(begun) <= number:
                await anyio.lowlevel.checkpoint()
            expire(worker)
            with pytest.raises(TaskError, match="ran longer than its limit"):
                await handle.get()
        value = await (await quick.delay()).get()
        gate.set()

    assert value == "run"


async def test_a_time_limit_is_an_error_that_a_policy_can_retry(app, working):
    policy = RetryPolicy(max_retries=1, retry_delay=0, retry_on=[TimeoutError])

    @app.task(name="slow", timeout=0.05, retry_policy=policy)
    async def slow(ctx: TaskContext) -> int:
        if ctx.retries == 0:
            await sleep_forever()
        return ctx.retries

    async with working():
        assert await (await slow.delay()).get() == 1


async def test_a_task_that_swallows_its_cancellation_has_run_out_of_time_all_the_same(app, working):
    @app.task(name="stubborn", timeout=0.05)
    async def stubborn() -> str:
        with suppress(BaseException):
            await sleep_forever()
        return "never mind"

    async with working(concurrency=1):
        for _ in range(2):
            with pytest.raises(TaskError, match="ran longer than its limit"):
                await (await stubborn.delay()).get()


async def test_a_task_that_makes_an_error_of_its_cancellation_has_run_out_of_time(app, working):
    @app.task(name="stubborn", timeout=0.05)
    async def stubborn() -> None:
        try:
            await sleep_forever()
        except BaseException:  # noqa: BLE001
            raise ValueError("of my own") from None

    async with working(concurrency=1):
        with pytest.raises(TaskError, match="ran longer than its limit"):
            await (await stubborn.delay()).get()


async def test_a_task_that_blocks_the_loop_past_its_limit_has_run_out_of_time(app, working):
    @app.task(name="blocking", timeout=0.01)
    async def blocking() -> str:
        threading.Event().wait(0.03)
        return "late"

    async with working(concurrency=1):
        with pytest.raises(TaskError, match="ran longer than its limit"):
            await (await blocking.delay()).get()


@ON_ASYNCIO
async def test_a_task_that_cancels_its_asyncio_task_fails_alone(app, working):
    @app.task(name="suicidal")
    async def suicidal() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await sleep_forever()

    @app.task(name="next")
    async def following() -> str:
        return "alive"

    async with working(concurrency=1):
        with pytest.raises(TaskError, match="cancelled its own asyncio task"):
            await (await suicidal.delay()).get()
        assert await (await following.delay()).get() == "alive"


@ON_ASYNCIO
async def test_a_cancellation_that_a_task_leaves_behind_hits_no_other_call(app, working):
    @app.task(name="messy")
    async def messy() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    @app.task(name="next")
    async def following() -> str:
        await anyio.lowlevel.checkpoint()
        return "alive"

    async with working(concurrency=1):
        handles = [await messy.delay(), await following.delay(), await following.delay()]
        assert await app.gather(handles) == ["done", "alive", "alive"]


@ON_ASYNCIO
async def test_a_cancellation_that_comes_when_its_task_is_over_does_not_end_the_worker(
    app, working
):
    slots: list[asyncio.Task[None]] = []

    @app.task(name="messy")
    async def messy() -> None:
        task = asyncio.current_task()
        assert task is not None
        slots.append(task)

    async with working(concurrency=1) as worker:
        await (await messy.delay()).get()
        slots[0].cancel()
        await asyncio.wait(slots)
        await (await messy.delay()).get()
        assert worker.get_stats().is_running

    assert slots[0] is not slots[1]
