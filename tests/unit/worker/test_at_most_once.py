"""Calls that are settled before they run."""

from __future__ import annotations

import anyio
import pytest
from anyio import Event, sleep_forever

from chicory import Chicory, DeliveryMode, RetryPolicy, TaskError, TaskState, Worker
from chicory.context import TaskContext

ONCE = DeliveryMode.AT_MOST_ONCE


async def counts(app):
    return (await app.broker.counts(["default"]))["default"]


async def test_its_message_is_gone_before_it_begins(app, working):
    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> tuple[int, int]:
        found = await counts(app)
        return found.ready, found.leased

    async with working():
        value = await (await once.delay()).get()

    assert value == (0, 0)


async def test_a_failure_that_it_reports_is_tried_again_under_its_id(app, working):
    seen = []

    @app.task(name="once", delivery_mode=ONCE, retry_policy=RetryPolicy(retry_delay=0))
    async def once(ctx: TaskContext) -> int:
        seen.append(ctx.task_id)
        if ctx.retries < 2:
            raise ValueError("bad")
        return ctx.retries

    async with working():
        handle = await once.delay()
        value = await handle.get()

    assert value == 2
    assert seen == [handle.task_id] * 3


@pytest.mark.parametrize("value", [None, object(), "x" * 2_000_000])
async def test_it_ends_as_failure_for_it_has_left_nothing_to_keep(app, working, value):
    @app.task(name="once", delivery_mode=ONCE)
    async def once():
        if value is None:
            raise ValueError("bad")
        return value

    async with working():
        handle = await once.delay()
        with pytest.raises(TaskError):
            await handle.get()
        state = await handle.state()

    assert state is TaskState.FAILURE
    assert await app.broker.get_dlq_count() == 0


async def test_a_worker_that_is_stopped_in_the_middle_of_it_reports_it_failed(app):
    begun = Event()

    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> None:
        begun.set()
        await sleep_forever()

    worker = Worker(app)
    with anyio.fail_after(60):
        await worker.start()
        handle = await once.delay()
        await begun.wait()
        await worker.stop(timeout=0)
        with pytest.raises(TaskError, match="its worker stopped; it runs at most once"):
            await handle.get()

    assert (await counts(app)).ready == 0


async def test_a_connection_lost_while_it_is_settled_does_not_lose_it(app, working, cable, log):
    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> str:
        return "run"

    async with working():
        cable.down.add("settle")
        handle = await once.delay()
        await cable.called("settle", 3)
        cable.mend()
        value = await handle.get()

    assert value == "run"


async def test_it_waits_for_its_settlement_however_long_that_takes(
    app, working, cable, monkeypatch
):
    # a worker that stops would not wait at all
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.0)

    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> str:
        return "run"

    async with working():
        cable.stuck.add("settle")
        handle = await once.delay()
        await cable.called("settle", 1)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        cable.mend()
        value = await handle.get()

    assert value == "run"


async def test_a_worker_that_stops_while_it_is_being_settled_does_not_run_it(
    app, cable, monkeypatch
):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.1)
    run = []

    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> None:
        run.append(1)

    worker = Worker(app)
    with anyio.fail_after(60):
        await worker.start()
        cable.down.add("settle")
        await once.delay()
        await cable.called("settle", 2)
        await worker.stop(timeout=0)
        cable.mend()

    assert run == []
    assert (await counts(app)).leased == 1  # its lease runs out, and another worker has it


@pytest.mark.parametrize("delay", [0, 100])
async def test_a_retry_that_may_have_been_published_is_sent_again_only_while_it_cannot_run_twice(
    app, working, cable, clock, log, delay
):
    begun = []
    policy = RetryPolicy(max_retries=1, retry_delay=delay, jitter=False)

    @app.task(name="once", delivery_mode=ONCE, retry_policy=policy)
    async def once(ctx: TaskContext) -> str:
        begun.append(ctx.retries)
        if ctx.retries == 0:
            cable.deaf.add("publish")
            raise ValueError("bad")
        return "second"

    async with working():
        handle = await once.delay()
        await cable.called("publish", 2)  # the call, and its retry
        if delay:
            await cable.called("publish", 3)
        else:
            await log.heard("its retry may be lost with the connection")
        cable.mend()
        await log.heard("settling works again")
        clock.advance(delay)
        while await handle.state() is not TaskState.SUCCESS:
            await anyio.lowlevel.checkpoint()

    assert begun == [0, 1]


async def test_a_retry_that_was_published_is_not_sent_again_because_another_settlement_failed(
    app, working, cable, clock
):
    begun = []

    @app.task(
        name="once", delivery_mode=ONCE, retry_policy=RetryPolicy(max_retries=1, retry_delay=0)
    )
    async def once(ctx: TaskContext) -> str:
        begun.append(ctx.retries)
        if ctx.retries == 0:
            cable.down.add("settle")
            raise ValueError("bad")
        return "second"

    @app.task(name="other")
    async def other() -> str:
        return "other"

    async with working():
        handles = [await once.delay(), await other.delay()]
        await cable.called("settle", 4)
        cable.mend()
        values = await app.gather(handles)

    assert values == ["second", "other"]
    assert begun == [0, 1]


async def test_with_two_servers_its_outcome_is_stored_in_the_other_one(url, clock):
    app = Chicory(url, f"{url}-results", clock=clock)

    @app.task(name="once", delivery_mode=ONCE)
    async def once() -> str:
        return "run"

    async with app, Worker(app):
        with anyio.fail_after(60):
            value = await (await once.delay()).get()

    assert value == "run"


async def test_one_that_is_being_acknowledged_does_not_keep_its_worker_from_ending(
    app, working, monkeypatch
):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 1000)

    async def nobody_settles(_) -> None:
        await sleep_forever()

    monkeypatch.setattr("chicory.worker.settler.Settler.run", nobody_settles)

    @app.task(name="once", delivery_mode="at_most_once")
    async def once() -> None: ...

    async with working() as worker:
        handle = await once.delay()
        while not worker.get_stats().active_tasks:
            await anyio.lowlevel.checkpoint()
        await worker.stop(timeout=0)

    assert await handle.state() in {TaskState.FAILURE, TaskState.SUCCESS}
