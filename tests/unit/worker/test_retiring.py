"""When a worker ends by itself."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from chicory import RetryPolicy, Worker, WorkerConfig
from chicory.context import TaskContext
from chicory.testing.memory import MemoryTransport


async def test_a_burst_ends_when_the_queues_are_empty(app):
    @app.task(name="again", retry_policy=RetryPolicy(max_retries=3, retry_delay=0))
    async def again(ctx: TaskContext) -> int:
        if ctx.retries < 3:
            raise ValueError
        return ctx.retries

    handles = [await again.delay() for _ in range(20)]

    await Worker(app, burst=True).run()

    assert await app.gather(handles) == [3] * 20


async def test_a_burst_sees_the_retry_of_what_ended_while_it_looked(app, monkeypatch):
    fetch = MemoryTransport.fetch

    async def answer_late(self, queues, limit, wait):
        taken = await fetch(self, queues, limit, wait)
        if not taken:
            await anyio.wait_all_tasks_blocked()
        return taken

    monkeypatch.setattr(MemoryTransport, "fetch", answer_late)

    @app.task(name="again", retry_policy=RetryPolicy(max_retries=3, retry_delay=0))
    async def again(ctx: TaskContext) -> None:
        await anyio.lowlevel.checkpoint()
        if ctx.retries < 3:
            raise ValueError

    handle = await again.delay()

    await Worker(app, WorkerConfig(concurrency=2), burst=True).run()

    assert await handle.ready()


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


@pytest.mark.parametrize("concurrency", [1, 2, 32])
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_worker_ends_after_its_tasks_and_leaves_the_rest(app, kind, concurrency):
    if kind == "async":

        @app.task(name="one")
        async def one() -> None:
            await anyio.lowlevel.checkpoint()
    else:

        @app.task(name="one")
        def one() -> None:
            pass

    for _ in range(30):
        await one.send()
    worker = Worker(app, WorkerConfig(max_tasks=10, concurrency=concurrency))

    await worker.run()

    assert worker.get_stats().tasks_processed == 10
    counts = (await app.broker.counts(["default"]))["default"]
    assert (counts.ready, counts.leased) == (20, 0)


async def test_what_waits_for_its_turn_counts_among_the_tasks_of_a_worker(app):
    @app.task(name="single", max_concurrency=1)
    async def single() -> None:
        await anyio.lowlevel.checkpoint()

    for _ in range(30):
        await single.send()
    worker = Worker(app, WorkerConfig(max_tasks=10, concurrency=8))

    await worker.run()

    assert worker.get_stats().tasks_processed == 10
    assert (await app.broker.counts(["default"]))["default"].ready == 20


async def test_a_worker_ends_when_it_has_more_memory_than_it_may(app):
    worker = Worker(app, WorkerConfig(max_memory=1))

    await worker.run()

    assert not worker.get_stats().is_running
