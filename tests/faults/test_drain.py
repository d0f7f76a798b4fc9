"""Workers told to stop: what runs ends, or goes back; the exit code says that all is well."""

from __future__ import annotations

import signal

import anyio
import pytest
from servers.brokers import BROKERS

from chicory import TaskState

KINDS = ("hold", "hold_in_thread")
on_each_broker = pytest.mark.parametrize("broker", BROKERS, indirect=True)


async def exit_code(worker) -> int:
    return await anyio.to_thread.run_sync(worker.wait)


STOPS = [
    *(("sqlite", kind, number) for kind in KINDS for number in (signal.SIGTERM, signal.SIGINT)),
    ("redis", "hold", signal.SIGTERM),
    ("nats", "hold", signal.SIGTERM),
]


@pytest.mark.parametrize(("broker", "kind", "number"), STOPS, indirect=["broker"])
async def test_a_worker_told_to_stop_finishes_what_runs_and_leaves_the_rest(
    fleet, gate, kind, number
):
    with anyio.fail_after(60):
        handles = [await fleet.task(kind).delay(str(n), gate.path) for n in range(20)]
        (worker,) = fleet.start(worker_concurrency=3)
        await fleet.ledger.has("started", 3)
        worker.send_signal(number)
        await fleet.ledger.has("logged", text=f"{number.name}: stopping; 3 running tasks")
        gate.open()
        code = await exit_code(worker)
        counts = (await fleet.app.broker.counts(["default"]))["default"]
        states = [await handle.state() for handle in handles]

    assert code == 0
    assert (counts.ready, counts.leased, counts.dead) == (17, 0, 0)
    assert states.count(TaskState.SUCCESS) == 3
    assert len(fleet.ledger.of("started")) == 3


@on_each_broker
async def test_a_second_signal_gives_back_at_once_what_runs(fleet, gate):
    with anyio.fail_after(60):
        for number in range(5):
            await fleet.task("hold").send(str(number), gate.path)
        (worker,) = fleet.start(worker_concurrency=3, worker_shutdown_timeout=1000)
        await fleet.ledger.has("started", 3)
        worker.terminate()
        await fleet.ledger.has("logged", text="SIGTERM: stopping")
        worker.terminate()
        code = await exit_code(worker)
        counts = (await fleet.app.broker.counts(["default"]))["default"]
        session = await fleet.app.broker_link.session()
        fetched = await session.transport.fetch(["default"], 10, 0)

    assert code == 0
    assert (counts.ready, counts.leased, counts.dead) == (5, 0, 0)
    assert [delivery.deliveries for delivery in fetched] == [1] * 5
    assert len(fleet.ledger.of("cancelled")) == 3


@on_each_broker
async def test_what_outlasts_the_shutdown_timeout_is_given_back(fleet, gate):
    with anyio.fail_after(60):
        handle = await fleet.task("hold").delay("it", gate.path)
        (worker,) = fleet.start(worker_shutdown_timeout=0.1)
        await fleet.ledger.has("started")
        worker.terminate()
        code = await exit_code(worker)
        (other,) = fleet.start()
        await fleet.ledger.has("started", pid=other.pid)
        gate.open()
        pid = await handle.get()

    assert code == 0
    assert pid == other.pid
    assert await fleet.app.broker.get_dlq_count() == 0


@on_each_broker
async def test_workers_replaced_under_load_lose_nothing_and_run_nothing_twice(fleet, chance):
    codes, enough = [], anyio.Event()
    with anyio.fail_after(60):
        for worker in fleet.start(2, worker_concurrency=4):
            await fleet.ready(worker)  # before that, a signal ends it as it ends any process
        async with anyio.create_task_group() as group:
            group.start_soon(fleet.produce, "work", 0.02, chance, enough)
            for _ in range(3):
                more = chance.randrange(1, 40)
                await fleet.ledger.has("started", len(fleet.ledger.of("started")) + more)
                (successor,) = fleet.start(1, worker_concurrency=4)
                await fleet.ready(successor)
                leaver = fleet.workers.pop(0)
                leaver.terminate()
                codes.append(await exit_code(leaver))
            enough.set()
        await fleet.app.gather(fleet.handles.values())

    assert codes == [0] * 3
    assert set(fleet.ledger.counted("started")) == set(fleet.handles)
    assert set(fleet.ledger.counted("started").values()) == {1}
    assert len(fleet.ledger.counted("finished")) == len(fleet.handles)
