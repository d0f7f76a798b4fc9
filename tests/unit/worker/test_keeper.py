"""The keeper: what goes on although user code blocks the event loop."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from anyio import Event
from cable import Cable, CabledTransport

from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.testing.memory import MemoryTransport
from chicory.transport import Release
from chicory.worker import keeper
from chicory.worker.custody import Custody
from chicory.worker.workbench import Workbench

BEATING = {"heartbeat_interval": 0.01, "heartbeat_ttl": 1.0}


@pytest.fixture
async def app(url, clock):
    """Its workers look at their leases every few hundredths of a second."""
    app = Chicory(url, clock=clock, config=ChicoryConfig(lease=0.08))
    yield app
    await app.disconnect()


class Watch:
    """What happens on the broker, for code that blocks the event loop."""

    def __init__(self, cable, clock) -> None:
        self.cable, self.clock = cable, clock

    def block_for(self, verb: str, times: int) -> None:
        """Block the thread until the keeper has called a verb that often again."""
        wanted = self.cable.calls[verb] + times
        for _ in range(20_000):
            if self.cable.calls[verb] >= wanted:
                return
            threading.Event().wait(0.001)
        raise TimeoutError(verb)


@pytest.fixture
async def watch(cable, clock) -> Watch:
    return Watch(cable, clock)


def block_until(condition) -> None:
    """Block the thread, and with it the event loop, until something is true."""
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise TimeoutError


async def test_leases_are_renewed_while_the_event_loop_is_blocked(
    app, working, watch, clock, cable
):
    run = []

    @app.task(name="blocking")
    async def blocking() -> str:
        run.append(1)
        for _ in range(4):  # twice the lease, all in all
            watch.block_for("renew", 2)
            clock.advance(app.config.lease / 2)
        return "run once"

    async with working(), working():
        value = await (await blocking.delay()).get()

    assert value == "run once"
    assert run == [1]


async def test_nothing_is_fetched_before_the_keeper_can_renew_leases(
    app, working, cable, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    cable.closed_to.add("chicory keeper")
    async with working():
        handle = await quick.delay()
        await log.heard("the keeper's connecting fails, trying on: too many connections")
        before = cable.calls["fetch"]
        cable.mend()
        value = await handle.get()

    assert before == 0
    assert value == "run"


async def test_connecting_may_take_longer_than_a_renewal(url, clock, working, monkeypatch):
    monkeypatch.setattr("chicory.worker.insistence.SHORTEST_LIMIT", 0.02)
    app = Chicory(url, clock=clock, config=ChicoryConfig(lease=0.04))
    connect, connections = MemoryTransport.open, []

    async def try_a_dead_server_first(transport):
        if threading.current_thread().name == "chicory keeper":
            connections.append(transport)
            await anyio.sleep(0.2)
        await connect(transport)

    monkeypatch.setattr(MemoryTransport, "open", try_a_dead_server_first)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    async with app, working(on=app):
        value = await (await quick.delay()).get()

    assert value == "run"
    assert len(connections) == 1


async def test_nothing_more_is_fetched_while_leases_have_not_been_renewed_for_longer_than_they_last(
    app, working, cable, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.patience.LONGEST", 0.02)
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    cable.down.add("renew")
    async with working():
        await hold.send()
        await begun.wait()
        await log.heard("leases are not renewed: nothing is fetched until they are")
        fetches = cable.calls["fetch"]
        handles = [await quick.delay(), await quick.delay()]  # one fetch is still under way
        await cable.called("ping", cable.calls["ping"] + 3)
        meanwhile = cable.calls["fetch"]
        cable.mend()
        values = await app.gather(handles)
        gate.set()

    assert meanwhile == fetches
    assert values == ["run", "run"]
    assert log.count("leases are not renewed") == 1


async def test_a_backend_that_cannot_be_opened_keeps_no_lease_from_being_renewed(
    url, clock, working, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)
    app = Chicory(url, f"{url}-results", clock=clock, config=ChicoryConfig(lease=0.08))
    broker, backend = Cable(), Cable()
    app.broker_link.template = CabledTransport.over(app.broker_link.template, broker)
    app.backend_link.template = CabledTransport.over(app.backend_link.template, backend)
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> str:
        begun.set()
        await gate.wait()
        return "held"

    backend.closed_to.add("chicory keeper")
    async with app, working(on=app):
        handle = await hold.delay()
        await begun.wait()
        await broker.called("renew", 2)
        await log.heard("the keeper's connecting fails, trying on: too many connections")
        backend.mend()
        await backend.called("beat", 1)
        gate.set()
        value = await handle.get()

    assert value == "held"


async def test_what_blocks_the_event_loop_is_reported_once_with_its_stack(app, working, watch, log):
    reported = "by task blocking ("

    @app.task(name="blocking")
    async def blocking() -> None:
        before = log.count(reported)
        block_until(lambda: log.count(reported) > before)
        watch.block_for("beat", 10)  # time for as many reports

    async with working(blocked_loop_warning=0.04, **BEATING) as worker:
        for times in (1, 2):
            await (await blocking.delay()).get()
            assert log.count(reported) == times
        while not worker.get_stats().loop_lag:
            await anyio.lowlevel.checkpoint()

    line = next(line for line in log.lines if reported in line)
    assert "block_until(lambda: log.count(reported) > before)" in line


async def test_a_block_that_is_no_tasks_fault_is_reported_as_such(app, working, log):
    async with working(blocked_loop_warning=0.01):
        block_until(lambda: log.count("by something that is no task"))


async def test_a_loop_blocked_past_its_limit_gives_up_its_leases_and_takes_up_again(
    app, working, watch, clock, cable, log
):
    gate = Event()

    def given_up() -> int:  # not in the task itself, whose source is logged
        return log.count("giving up the leases of 1 tasks")

    @app.task(name="blocking")
    async def blocking() -> str:
        block_until(given_up)
        renewals = cable.calls["renew"]
        watch.block_for("beat", 8)
        assert cable.calls["renew"] - renewals <= 1  # one may have been under way
        await gate.wait()
        return "run"

    async with working(blocked_loop_warning=0.04, blocked_loop_limit=0.1, **BEATING):
        handle = await blocking.delay()
        await log.heard("the event loop answers again")
        await cable.called("renew", cable.calls["renew"] + 2)
        gate.set()
        value = await handle.get()

    assert value == "run"
    assert log.count("giving up the leases") == 1


async def test_the_heartbeat_tells_what_the_worker_does(app, working, cable):
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    @app.task(name="fail")
    async def fail() -> None:
        raise ValueError

    async with working(concurrency=3, **BEATING) as worker:
        failed = await fail.delay()
        while not await failed.failed():
            await anyio.lowlevel.checkpoint()
        held = await hold.delay()
        await begun.wait()
        await cable.called("beat", cable.calls["beat"] + 2)
        (stats,) = await app.backend.get_active_workers()
        gate.set()
        await held.get()

    assert stats.worker_id == worker.worker_id
    assert (stats.tasks_processed, stats.tasks_failed, stats.active_tasks) == (1, 1, 1)
    assert [(task.name, task.task_id) for task in stats.running] == [("hold", held.task_id)]
    assert (stats.concurrency, stats.queue, stats.is_running) == (3, "default", True)


async def test_the_heartbeat_goes_on_while_the_event_loop_is_blocked(app, working, watch):
    @app.task(name="blocking")
    async def blocking() -> None:
        watch.block_for("beat", 5)

    async with working(**BEATING):
        await (await blocking.delay()).get()


async def test_with_two_servers_both_know_the_worker(url, clock, working):
    app = Chicory(url, f"{url}-results", clock=clock)
    async with app, working(on=app) as worker:
        (stats,) = await app.backend.get_active_workers()
        consumers = await app.broker.get_consumer_count()

    assert stats.worker_id == worker.worker_id
    assert consumers == 1


async def test_a_worker_that_is_told_to_stop_while_it_is_not_known_yet_ends_as_always(app, cable):
    begun, gate, ends = Event(), Event(), []

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()
        ends.append("finished")

    await hold.send()
    cable.down.add("beat")
    worker = Worker(app, WorkerConfig())
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.start)
            await begun.wait()
            group.start_soon(worker.stop)
            await anyio.wait_all_tasks_blocked()
            gate.set()

    assert ends == ["finished"]


async def test_a_start_does_not_wait_for_ever_for_a_first_heartbeat(working, cable, monkeypatch):
    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0.01)
    cable.down.add("beat")
    async with working() as worker:
        assert worker.get_stats().is_running


async def test_a_deaf_fetch_is_replaced(app, working, cable, log, monkeypatch):
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_AFTER", 0.02)
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_FOR", 0.02)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    cable.stuck.add("fetch")
    async with working():
        await cable.called("fetch", 1)
        handle = await quick.delay()
        await log.heard("messages wait and the fetch does not see them")
        cable.stuck.discard("fetch")  # the one that is stuck stays so until it is cancelled
        value = await handle.get()

    assert value == "run"
    assert cable.calls["fetch"] >= 2


async def test_nobody_looks_after_a_fetch_that_the_transport_vouches_for(
    working, cable, monkeypatch
):
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_AFTER", 0.01)
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_FOR", 0.01)
    cable.vouches = True

    async with working():
        await cable.called("vouches", 3)
        assert not cable.calls["counts"]

        cable.vouches = False
        await cable.called("counts", 1)


async def test_a_fetch_that_waits_for_a_paused_or_empty_queue_is_left_in_peace(
    app, working, cable, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_AFTER", 0.01)
    monkeypatch.setattr("chicory.worker.fetchwatch.DEAF_FOR", 0.01)

    @app.task(name="quick")
    async def quick() -> None: ...

    await app.broker.pause()
    async with working():
        await quick.send()
        await cable.called("counts", cable.calls["counts"] + 5)

    assert log.count("messages wait") == 0
    assert cable.calls["fetch"] == 1


async def test_a_renewal_that_gets_no_answer_is_made_again_before_it_is_too_late(
    app, working, cable, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.insistence.SHORTEST_LIMIT", 0.0)
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> str:
        begun.set()
        await gate.wait()
        return "held"

    async with working():
        cable.stuck.add("renew")
        handle = await hold.delay()
        await begun.wait()
        await log.heard("renewing leases fails, trying on: no answer within 0.04 s")
        cable.mend()
        await log.heard("renewing leases works again")
        gate.set()
        value = await handle.get()

    assert value == "held"


async def test_no_error_however_unexpected_ends_a_duty_of_the_keeper(app, working, cable, log):
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> str:
        begun.set()
        await gate.wait()
        return "held"

    async with working(**BEATING):
        cable.refused.update(renew=ZeroDivisionError("a fault"), beat=KeyError("another"))
        handle = await hold.delay()
        await begun.wait()
        await log.heard("renewing leases fails, trying on: a fault")
        await log.heard("the heartbeat fails, trying on: 'another'")
        cable.mend()
        await log.heard("renewing leases works again")
        await log.heard("the heartbeat works again")
        gate.set()
        value = await handle.get()

    assert value == "held"


async def test_the_keeper_goes_on_although_the_worker_has_no_broker_at_first(
    app, working, cable, log
):
    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    async with working(**BEATING) as worker:
        value = await (await quick.delay()).get()
        await cable.called("beat", 1)
        assert worker.get_stats().is_running

    assert value == "run"


def test_orders_of_the_keeper_that_come_too_late_do_nothing():
    """A receipt that is held no more is nobody's."""
    bench = object.__new__(Workbench)
    bench.custody = object.__new__(Custody)
    bench.custody.held = {}

    bench.lost("gone")
    bench.cancel("gone")


async def test_the_keeper_hangs_up_although_its_last_heartbeat_gets_no_answer(
    app, cable, log, monkeypatch
):
    monkeypatch.setattr(keeper, "LAST_WORDS", 0.05)
    worker = Worker(app, WorkerConfig(heartbeat_interval=1000, heartbeat_ttl=2000))
    await worker.start()
    await cable.called("beat", 1)
    cable.stuck.add("beat")
    closed = cable.calls["close"]

    with anyio.fail_after(60):
        await worker.stop()

    assert log.count("the last heartbeat could not be sent") == 1
    assert cable.calls["close"] == closed + 2  # the worker's own connection, and the keeper's


async def test_the_keeper_hangs_up_only_when_nothing_connects_any_more(app, cable, monkeypatch):
    steps = []
    connecting = threading.Event()
    bare_open, bare_close = CabledTransport.open, CabledTransport.close

    async def open_to_the_end(transport):
        if threading.current_thread().name != "chicory keeper":
            return await bare_open(transport)
        connecting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for _ in range(20):  # turns for whoever does not wait for this
                await asyncio.sleep(0)
            await bare_open(transport)
            steps.append("opened")
            raise

    async def close(transport):
        await bare_close(transport)
        if threading.current_thread().name == "chicory keeper":
            steps.append("closed")

    monkeypatch.setattr(CabledTransport, "open", open_to_the_end)
    monkeypatch.setattr(CabledTransport, "close", close)
    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)
    worker = Worker(app, WorkerConfig())
    with anyio.fail_after(60):
        await worker.start()
        await anyio.to_thread.run_sync(connecting.wait)
        await worker.stop()

    assert steps == ["opened", "closed"]


@pytest.mark.parametrize("turns", [10, 0], ids=["answers come last", "answers come first"])
async def test_no_call_begins_with_a_lease_that_ended_while_the_event_loop_stood_still(
    app, working, watch, clock, cable, log, monkeypatch, turns
):
    run, stood_still = [], []
    bare_fetch = CabledTransport.fetch

    async def fetch(transport, *args):
        found = await bare_fetch(transport, *args)
        if found and not stood_still:
            stood_still.append(True)
            blocked = worker._run.reception.keeper
            block_until(lambda: blocked.blocked > app.config.lease)
            clock.advance(app.config.lease + 1)
            elsewhere = (await app.broker_link.session()).transport
            (taken,) = await bare_fetch(elsewhere, ["default"], 1, 0)
            await elsewhere.settle([Release(taken.receipt)])
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
        return found

    @app.task(name="once")
    async def once() -> str:
        run.append(1)
        return "run once"

    monkeypatch.setattr(CabledTransport, "fetch", fetch)
    async with working() as worker:
        value = await (await once.delay()).get()

    assert stood_still
    assert value == "run once"
    assert run == [1]
    assert log.count("its lease was lost") == 0
