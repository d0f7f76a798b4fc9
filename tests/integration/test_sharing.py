"""What a worker holds beyond what it runs is no other's loss: on every broker."""

from __future__ import annotations

import pytest
from anyio import Event, fail_after
from servers.brokers import BROKERS

from chicory import Chicory, Worker, WorkerConfig

SHORT, LAST = 600, 5


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_a_slow_task_holds_back_nothing_that_an_idle_worker_can_run(broker):
    """Short tasks make a worker fetch ahead; then comes a slow one before the last of them."""
    gate, slow_begun = Event(), Event()
    app = Chicory(broker)

    @app.task(name="short")
    async def short() -> None: ...

    @app.task(name="slow")
    async def slow() -> None:
        slow_begun.set()
        await gate.wait()

    config = WorkerConfig(concurrency=1)
    first, idle = Worker(app, config), Worker(app, config)
    async with app:
        with fail_after(60):
            await app.enqueue_many([*[short.call()] * SHORT, slow.call()])
            last = await app.enqueue_many([short.call()] * LAST)
            async with first:
                await slow_begun.wait()
                async with idle:
                    await app.gather(last)
                gate.set()

    assert first.get_stats().tasks_processed == SHORT + 1
    assert idle.get_stats().tasks_processed == LAST
