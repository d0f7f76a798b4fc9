"""Leases that are lost while a task runs, and calls that are cancelled."""

from __future__ import annotations

import threading
from contextlib import suppress

import anyio
import pytest
from anyio import CancelScope, Event, sleep_forever

from chicory import Chicory, ChicoryConfig, DeliveryMode, TaskState, Worker
from chicory.errors import TaskCancelledError
from chicory.transport import Cancelled, Record


@pytest.fixture
async def app(url, clock):
    """Its workers look at their leases every few hundredths of a second."""
    app = Chicory(url, clock=clock, config=ChicoryConfig(lease=0.08))
    yield app
    await app.disconnect()


async def cancel(app, task_id: str) -> Cancelled:
    session = await app.broker_link.session()
    return (await session.transport.cancel([Record(task_id, None, 0)]))[0]


async def steal(app, clock) -> list:
    """Fetch what the worker holds, as if it had been silent for too long."""
    session = await app.broker_link.session()
    clock.advance(app.config.lease * 2)
    return list(await session.transport.fetch(["default"], 10, 0))


async def test_a_lease_is_renewed_for_as_long_as_the_task_runs(app, working, cable, clock):
    gate, begun = Event(), Event()

    @app.task(name="long")
    async def long() -> str:
        begun.set()
        await gate.wait()
        return "finished"

    async with working() as worker:
        handle = await long.delay()
        await begun.wait()
        for _ in range(3):
            await cable.called("renew", cable.calls["renew"] + 2)
            clock.advance(app.config.lease / 2)
        stats = worker.get_stats()
        gate.set()
        value = await handle.get()

    assert stats.active_tasks == 1
    assert value == "finished"


async def test_an_attempt_whose_lease_is_lost_is_stopped_and_does_not_count(
    app, working, cable, clock, log
):
    begun, stopped = Event(), Event()

    @app.task(name="long")
    async def long() -> None:
        begun.set()
        try:
            await sleep_forever()
        finally:
            stopped.set()

    async with working() as worker:
        handle = await long.delay()
        await begun.wait()
        (stolen,) = await steal(app, clock)
        await stopped.wait()
        await log.heard("its lease is lost, stopping it")
        await worker.stop()
        stats = worker.get_stats()

    assert stolen.task_id == handle.task_id
    assert stolen.deliveries == 2
    assert (stats.tasks_processed, stats.tasks_failed) == (0, 0)
    assert await handle.state() is TaskState.STARTED  # with who has it now


async def test_a_lost_lease_is_told_once_however_long_the_attempt_takes_to_end(
    app, working, cable, clock, log
):
    begun, gate = Event(), Event()

    @app.task(name="long")
    async def long() -> None:
        begun.set()
        try:
            await sleep_forever()
        finally:
            with CancelScope(shield=True):
                await gate.wait()

    async with working() as worker:
        await long.delay()
        await begun.wait()
        await steal(app, clock)
        await log.heard("its lease is lost, stopping it")
        await cable.called("renew", cable.calls["renew"] + 3)
        gate.set()
        await worker.stop()

    assert log.count("its lease is lost, stopping it") == 1


async def test_an_outcome_that_comes_after_the_lease_was_lost_is_fenced(
    app, working, cable, clock, log
):
    begun, gate = Event(), Event()

    @app.task(name="long")
    async def long() -> str:
        begun.set()
        await gate.wait()
        return "of the zombie"

    async with working():
        cable.stuck.add("renew")
        handle = await long.delay()
        await begun.wait()
        (stolen,) = await steal(app, clock)
        gate.set()
        await log.heard("its lease was lost meanwhile, its outcome here does not count")
        state = await handle.state()

    assert state is TaskState.STARTED
    assert stolen.task_id == handle.task_id


async def test_a_worker_that_fetches_again_what_it_lost_settles_the_second_lease_only(
    app, working, cable, clock, log
):
    begun = []
    both, gate = Event(), Event()

    @app.task(name="long")
    async def long() -> int:
        begun.append(1)
        mine = len(begun)
        if mine == 2:
            both.set()
        await gate.wait()
        return mine

    async with working(concurrency=2):
        cable.stuck.add("renew")
        handle = await long.delay()
        while not begun:
            await anyio.lowlevel.checkpoint()
        clock.advance(app.config.lease * 2)
        await both.wait()
        gate.set()
        value = await handle.get()
        await log.heard("its lease was lost meanwhile")
        cable.mend()

    assert value == 2
    assert await app.broker.get_pending_count() == 0


async def test_a_cancelled_call_is_stopped_where_it_runs(app, working):
    begun, stopped = Event(), Event()

    @app.task(name="long")
    async def long() -> None:
        begun.set()
        try:
            await sleep_forever()
        finally:
            stopped.set()

    async with working() as worker:
        handle = await long.delay()
        await begun.wait()
        answer = await cancel(app, handle.task_id)
        with pytest.raises(TaskCancelledError):
            await handle.get()
        stats = worker.get_stats()

    assert answer is Cancelled.REQUESTED
    assert stopped.is_set()
    assert await handle.state() is TaskState.CANCELLED
    assert (stats.tasks_processed, stats.tasks_failed) == (1, 0)


async def test_a_cancelled_call_that_refuses_to_stop_but_ends_is_cancelled_or_has_its_result(
    app, working
):
    begun = Event()

    @app.task(name="stubborn")
    async def stubborn() -> str:
        begun.set()
        with suppress(BaseException):
            await sleep_forever()
        return "finished first"

    async with working():
        handle = await stubborn.delay()
        await begun.wait()
        await cancel(app, handle.task_id)
        value = await handle.get()

    assert value == "finished first"


async def test_a_call_cancelled_in_a_sync_task_is_cancelled_at_once(app, working):
    begun, gate = Event(), threading.Event()

    @app.task(name="blocking")
    def blocking() -> None:
        anyio.from_thread.run_sync(begun.set)
        gate.wait(20)

    async with working():
        handle = await blocking.delay()
        await begun.wait()
        await cancel(app, handle.task_id)
        with pytest.raises(TaskCancelledError):
            await handle.get()
        gate.set()


async def test_leases_are_renewed_while_outcomes_wait_for_the_broker(app, working, cable, clock):
    """The broker takes no settlements for longer than the lease."""

    @app.task(name="quick")
    async def quick() -> str:
        return "settled at last"

    async with working():
        cable.down.add("settle")
        handle = await quick.delay()
        await cable.called("settle", 1)
        for _ in range(4):
            await cable.called("renew", cable.calls["renew"] + 2)
            clock.advance(app.config.lease / 2)
        cable.mend()
        value = await handle.get()

    assert value == "settled at last"


async def test_what_runs_at_most_once_runs_although_its_lease_ends_before_it_hears_of_that(
    app, working, cable
):
    """It is settled, so that its lease is gone, and the answer is late."""

    @app.task(name="once", delivery_mode=DeliveryMode.AT_MOST_ONCE)
    async def once() -> str:
        return "run"

    async with working():
        cable.late.add("settle")
        handle = await once.delay()
        await cable.called("settle", 1)
        await cable.called("renew", 2)
        cable.mend()
        value = await handle.get()

    assert value == "run"


async def test_a_worker_without_leases_asks_for_no_renewal(app, working, cable, log):
    async with working(heartbeat_interval=0.01, heartbeat_ttl=1) as worker:
        await cable.called("beat", 10)
        assert worker.get_stats().is_running

    assert cable.calls["renew"] == 0


async def test_two_workers_of_one_process_do_not_disturb_each_other(app, clock):
    @app.task(name="who")
    async def who() -> None:
        await anyio.lowlevel.checkpoint()

    first, second = Worker(app), Worker(app)
    with anyio.fail_after(60):
        async with first, second:
            await app.gather([await who.delay() for _ in range(100)])

    processed = [worker.get_stats().tasks_processed for worker in (first, second)]
    assert sum(processed) == 100
    assert first.worker_id != second.worker_id
