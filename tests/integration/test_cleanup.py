"""Cleaning up removes who is dead and holds nothing, on each broker; and nobody else."""

import anyio
import pytest
from servers.brokers import BROKERS

from chicory import Chicory, ChicoryConfig, Worker, WorkerStats
from chicory.config import WorkerConfig

LEASE = 0.8


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
@pytest.mark.parametrize("door", ["broker", "backend"])
async def test_the_dead_are_removed_and_who_works_goes_on(broker, door):
    app = Chicory(config=ChicoryConfig(lease=LEASE))
    begun, gate, runs = anyio.Event(), anyio.Event(), []

    @app.task(name="hold")
    async def hold() -> str:
        runs.append(1)
        begun.set()
        await gate.wait()
        return "held"

    dead = WorkerStats(worker_id="dead", hostname="h", pid=1, queue="default", concurrency=1)
    with anyio.fail_after(60):
        async with app, Worker(app, config=WorkerConfig(concurrency=1)) as worker:
            handle = await hold.delay()
            await begun.wait()
            while await app.backend.get_heartbeat(worker.worker_id) is None:  # noqa: ASYNC110  (nobody tells)
                await anyio.sleep(0.01)
            await app.backend.store_heartbeat("dead", dead, LEASE)
            while await app.backend.get_heartbeat("dead") is not None:
                await getattr(app, door).cleanup_stale_clients(stale_seconds=0)
                await anyio.sleep(0.01)
            (alive,) = await app.backend.get_active_workers()
            gate.set()
            assert await handle.get() == "held"
        await getattr(app, door).cleanup_stale_clients(stale_seconds=0)

        async with app:
            stopped = await app.backend.get_heartbeat(worker.worker_id)

    assert alive.worker_id == worker.worker_id
    assert [task.name for task in alive.running] in ([], ["hold"])
    assert runs == [1]
    assert stopped is None
