"""Which records of workers are removed: on SQLite, which keeps those of the dead for an hour."""

import anyio
import pytest

from chicory import Chicory, WorkerStats
from chicory.transport import WorkerRecord


@pytest.fixture
async def app(clock):
    async with Chicory("sqlite:///stale.db", clock=clock) as app:
        yield app


async def beat(app, name, queues=("default",), ttl=30.0, running=True):
    stats = WorkerStats(
        worker_id=name,
        hostname="h",
        pid=1,
        queue=",".join(queues),
        queues=list(queues),
        concurrency=1,
        is_running=running,
    )
    await app.backend.store_heartbeat(name, stats, ttl)


async def test_records_of_the_dead_are_removed_once_their_leases_have_run_out(app, clock):
    lease = app.config.lease
    await beat(app, "dead", ttl=30)

    clock.advance(30 + lease - 1)
    assert await app.broker.cleanup_stale_clients(stale_seconds=0) == 0
    clock.advance(1)
    assert await app.broker.cleanup_stale_clients(stale_seconds=30 + lease + 1) == 0
    assert await app.broker.cleanup_stale_clients("other", 0) == 0
    assert await app.broker.cleanup_stale_clients(stale_seconds=30 + lease) == 1
    assert await app.backend.get_heartbeat("dead") is None


@pytest.mark.parametrize("door", ["broker", "backend"])
async def test_who_lives_is_not_removed_however_seldom_it_beats(app, clock, door):
    await beat(app, "seldom", ttl=1000)
    clock.advance(900)

    assert await getattr(app, door).cleanup_stale_clients(stale_seconds=60) == 0
    assert [worker.worker_id for worker in await app.backend.get_active_workers()] == ["seldom"]


async def test_who_stopped_holds_nothing_and_is_removed_before_its_record_expires(app, clock):
    await beat(app, "stopped", running=False, ttl=1000)
    clock.advance(60)

    assert await app.backend.cleanup_stale_clients(stale_seconds=61) == 0
    assert await app.backend.cleanup_stale_clients(stale_seconds=60) == 1


async def test_the_dead_of_each_of_their_queues_are_removed(app, clock):
    for name in ("a", "b", "c"):
        await beat(app, name, queues=("mail", name), ttl=1)
    record = WorkerRecord("odd", ("odd",), b"\xc1")
    await (await app.broker_link.session()).transport.beat(record, 1)
    clock.advance(1000)

    assert await app.broker.cleanup_stale_clients("a") == 1
    assert await app.broker.cleanup_stale_clients("odd") == 1
    assert await app.broker.cleanup_stale_clients("mail") == 2


async def test_a_worker_that_stopped_is_removed_for_the_queue_that_it_consumed(app, clock, working):
    with anyio.fail_after(60):
        async with working(app) as worker:
            while await app.backend.get_heartbeat(worker.worker_id) is None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
    async with app:
        clock.advance(1)

        assert await app.backend.get_heartbeat(worker.worker_id) is not None
        assert await app.broker.cleanup_stale_clients("other", 0) == 0
        assert await app.broker.cleanup_stale_clients("default", 0) == 1
