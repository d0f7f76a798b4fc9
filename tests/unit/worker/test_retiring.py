"""When a worker ends by itself."""

from __future__ import annotations

import anyio
import pytest
from anyio import Event

from chicory import RetryPolicy, TaskState, Worker, WorkerConfig
from chicory.context import TaskContext


async def test_a_burst_ends_when_the_queues_are_empty(app):
    @app.task(name="again", retry_policy=RetryPolicy(max_retries=3, retry_delay=0))
    async def again(ctx: TaskContext) -> int:
        if ctx.retries < 3:
            raise ValueError
        return ctx.retries

    handles = [await again.delay() for _ in range(20)]

    await Worker(app, burst=True).run()

    assert await app.gather(handles) == [3] * 20


async def test_a_burst_goes_on_with_what_was_retried_while_its_last_fetch_was_under_way(app, cable):
    gate = Event()

    @app.task(name="again", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def again(ctx: TaskContext) -> int:
        await gate.wait()
        if ctx.retries == 0:
            raise ValueError
        return ctx.retries

    async def until_retried(answer) -> None:
        if not answer:
            gate.set()
            while not await app.broker.get_queue_size() and not await handle.ready():
                await anyio.lowlevel.checkpoint()

    handle = await again.delay()
    cable.late["fetch"] = until_retried
    with anyio.fail_after(20):
        await Worker(app, burst=True).run()

    assert await handle.state() is TaskState.SUCCESS


async def test_a_burst_over_empty_queues_ends_at_once(app):
    worker = Worker(app, burst=True)

    await worker.run()

    assert worker.get_stats().tasks_processed == 0


async def test_a_burst_does_not_wait_for_what_is_not_due(app):
    @app.task(name="later", retry_policy=RetryPolicy(max_retries=1, retry_delay=60))
    async def later() -> None:
        raise ValueError

    await later.delay()

    await Worker(app, burst=True).run()

    assert (await app.broker.counts(["default"]))["default"].delayed == 1


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_worker_ends_after_its_tasks_and_leaves_the_rest(app, kind):
    if kind == "async":

        @app.task(name="one")
        async def one() -> None:
            pass
    else:

        @app.task(name="one")
        def one() -> None:
            pass

    for _ in range(30):
        await one.send()
    worker = Worker(app, WorkerConfig(max_tasks=10, concurrency=2))

    await worker.run()

    processed = worker.get_stats().tasks_processed
    assert 10 <= processed < 30
    counts = (await app.broker.counts(["default"]))["default"]
    assert (counts.ready, counts.leased) == (30 - processed, 0)


async def test_a_worker_ends_when_it_has_more_memory_than_it_may(app):
    worker = Worker(app, WorkerConfig(max_memory=1))

    await worker.run()

    assert not worker.get_stats().is_running
