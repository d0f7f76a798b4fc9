"""Orders to cancel reach the worker at once; those that do not come cost a renewal's time."""

from __future__ import annotations

import threading

import anyio
import pytest
from anyio import Event, from_thread, sleep_forever

from chicory import (
    Cancelled,
    Chicory,
    ChicoryConfig,
    RetryPolicy,
    TaskCancelledError,
    TaskContext,
    TaskError,
    TaskState,
)
from chicory.cancellation import ORDERS, ordered
from chicory.errors import BrokerConnectionError, QueueFullError
from chicory.transport import Record

SHORT = pytest.mark.parametrize("lease", [1.0])


@pytest.fixture
def lease():
    """So long that nothing is renewed in a test: what is heard was pushed."""
    return 600.0


@pytest.fixture
async def app(url, clock, lease):
    app = Chicory(url, clock=clock, config=ChicoryConfig(lease=lease))
    yield app
    await app.disconnect()


@pytest.fixture
def endless(app):
    begun = []

    @app.task(name="endless")
    async def endless(number: int) -> None:
        begun.append(number)
        await sleep_forever()

    endless.begun = begun
    return endless


async def until(condition):
    while not condition():
        await anyio.lowlevel.checkpoint()


async def test_only_what_was_cancelled_is_stopped(app, working, endless, cable):
    async with working(concurrency=3):
        await cable.called("watch", 1)
        handles = [await endless.delay(number) for number in range(3)]
        await until(lambda: len(endless.begun) == 3)
        assert await handles[1].cancel() is Cancelled.REQUESTED
        with pytest.raises(TaskCancelledError):
            await handles[1].get()

        assert await handles[0].state() is await handles[2].state() is TaskState.STARTED
        assert cable.calls["renew"] == 1


async def test_an_order_that_replaces_the_one_before_is_about_the_calls_of_both(app, endless):
    handles = [await endless.delay(number) for number in range(3)]
    session = await app.broker_link.session()
    await session.transport.fetch(["default"], 3, 0)
    told = []

    for handle in handles:
        await handle.cancel()
        (standing,) = await session.transport.look_up([ORDERS])
        told.append(ordered(standing.record))

    ids = [handle.task_id for handle in handles]
    assert told == [ids[:1], ids[:2], ids[1:]]


async def test_a_worker_that_holds_none_of_them_asks_nothing(app, working, endless, cable):
    async with working():
        await cable.called("watch", 1)
        handle = await endless.delay(1)
        await until(lambda: endless.begun)
        transport = (await app.broker_link.session()).transport
        for body in (b"", b"\xc1", b"\x91\xa1x", b"\x91\x01", b"\xc0"):
            await transport.store([Record(ORDERS, body, 60)])
        await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle.get()

        assert cable.calls["renew"] == 1


async def test_an_order_that_is_nobody_s_wish_stops_nothing(app, working, endless, cable):
    async with working():
        await cable.called("watch", 1)
        handle = await endless.delay(1)
        await until(lambda: endless.begun)
        transport = (await app.broker_link.session()).transport
        await transport.store([Record(ORDERS, b"\x91\xd9\x20" + handle.task_id.encode(), 60)])
        await cable.called("renew", 1)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

        assert await handle.state() is TaskState.STARTED


@SHORT
async def test_a_request_is_heard_with_the_next_renewal_where_the_order_could_not_be_obeyed(
    app, working, endless, cable, log
):
    async with working():
        handle = await endless.delay(1)
        await until(lambda: endless.begun)
        cable.down.add("renew")
        assert await handle.cancel() is Cancelled.REQUESTED
        await log.heard("an order to cancel waits for the next renewal")
        cable.mend()
        with pytest.raises(TaskCancelledError):
            await handle.get()


@SHORT
@pytest.mark.parametrize("error", [QueueFullError("full"), BrokerConnectionError("gone")])
async def test_a_request_stands_although_its_order_could_not_be_given(
    app, working, endless, cable, error
):
    async with working():
        handle = await endless.delay(1)
        await until(lambda: endless.begun)
        cable.refused["store"] = error
        assert await handle.cancel() is Cancelled.REQUESTED
        with pytest.raises(TaskCancelledError):
            await handle.get()


async def test_a_call_that_was_fetched_and_has_not_begun_never_begins(app, working, endless):
    async with working(concurrency=1):
        first = await endless.delay(1)
        await until(lambda: endless.begun)
        waiting = await endless.delay(2)
        await waiting.cancel()
        await first.cancel()
        for handle in (first, waiting):
            with pytest.raises(TaskCancelledError):
                await handle.get()

    assert endless.begun == [1]


@SHORT
async def test_a_cancelled_call_that_asks_for_a_retry_is_cancelled_all_the_same(app, working):
    @app.task(name="failing", retry_policy=RetryPolicy(max_retries=3))
    async def failing(ctx: TaskContext) -> None:
        if ctx.retries:
            await sleep_forever()
        await app.result(ctx.task_id).cancel()
        ctx.retry(countdown=0)

    async with working():
        handle = await failing.delay()
        with pytest.raises(TaskCancelledError):
            await handle.get()


@pytest.mark.parametrize("way", ["raises", "asks for a retry", "snoozes"])
async def test_a_cancelled_call_that_would_go_on_later_does_not_wait_until_then(
    app, working, cable, way
):
    begun = []

    @app.task(
        name="failing",
        unique="key",
        retry_policy=RetryPolicy(max_retries=3, delays=[10_000], jitter=False),
    )
    async def failing(ctx: TaskContext) -> None:
        begun.append(ctx.attempts)
        await app.result(ctx.task_id).cancel()
        if way == "raises":
            raise ValueError
        if way == "snoozes":
            ctx.snooze(10_000)
        ctx.retry(countdown=10_000)

    cable.down.add("renew")  # it does not hear of it while it runs
    async with working():
        handle = await failing.delay()
        with pytest.raises(TaskCancelledError):
            await handle.get()

        assert not (await failing.options(delay=10_000).delay()).duplicate
    assert begun == [1]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_call_whose_worker_died_is_not_begun_again(
    app, working, endless, clock, lease, times
):
    handle = await endless.delay(1)
    transport = (await app.broker_link.session()).transport
    for _ in range(times):  # the second time it is suspect, and would have to run alone
        await transport.fetch(["default"], 1, 0)
        assert await handle.cancel() is Cancelled.REQUESTED
        clock.advance(lease)

    async with working(max_crashes=times + 1, concurrency=2):
        with pytest.raises(TaskCancelledError):
            await handle.get()

    assert endless.begun == []


@pytest.mark.parametrize("way", ["cancelled", "out of time", "lost"])
async def test_a_thread_is_told_that_nobody_waits_for_it_any_more(app, working, way, cable, clock):
    begun, told = Event(), Event()
    gate = threading.Event()

    @app.task(name="blocking", timeout=1000)
    def blocking(ctx: TaskContext) -> None:
        assert not ctx.cancelled
        from_thread.run_sync(begun.set)
        gate.wait(20)
        if ctx.cancelled:
            from_thread.run_sync(told.set)

    async with working() as worker:
        handle = await blocking.delay()
        await begun.wait()
        (attempt,) = worker._run.shift.running
        if way == "cancelled":
            await handle.cancel()
            with pytest.raises(TaskCancelledError):
                await handle.get()
        elif way == "out of time":
            attempt.scope.deadline = anyio.current_time()
            with pytest.raises(TaskError, match="ran longer"):
                await handle.get()
        else:
            worker._run.shift.bench.lost(attempt.delivery.receipt)
            await until(lambda: not worker._run.shift.running)
        gate.set()
        await told.wait()


async def test_a_task_that_cleans_up_knows_that_it_was_cancelled(app, working):
    begun, seen = Event(), []

    @app.task(name="careful")
    async def careful(ctx: TaskContext) -> None:
        begun.set()
        try:
            await sleep_forever()
        finally:
            seen.append(ctx.cancelled)

    async with working():
        handle = await careful.delay()
        await begun.wait()
        await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle.get()

    assert seen == [True]
