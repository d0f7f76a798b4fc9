"""Beginning and ending: nothing is lost, nothing fails, nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress

import anyio
import pytest
import trio
from anyio import CancelScope, Event, create_task_group, sleep_forever

from chicory import (
    BrokerConnectionError,
    Chicory,
    ChicoryConfig,
    TaskState,
    Worker,
    WorkerConfig,
)
from chicory.errors import ConfigurationError


async def deliveries(app) -> dict[str, int]:
    """What waits on the queue, and how often it was delivered before, by id."""
    session = await app.broker_link.session()
    fetched = await session.transport.fetch(["default"], 1000, 0)
    return {each.task_id: each.deliveries - 1 for each in fetched}


class Holding:
    """A task that begins, and goes on until it is let go."""

    def __init__(self, app) -> None:
        self.begun, self.gate, self.cancelled = Event(), Event(), 0
        self.task = app.task(name="hold")(self.hold)

    async def hold(self) -> str:
        self.begun.set()
        try:
            await self.gate.wait()
        except BaseException:
            self.cancelled += 1
            raise
        return "finished"


@pytest.fixture
async def holding(app) -> Holding:
    return Holding(app)


# -- stopping -----------------------------------------------------------------------------


async def test_running_tasks_finish_and_what_has_not_begun_is_given_back_at_once(
    app, holding, monkeypatch
):
    monkeypatch.setattr("chicory.worker.pace.Pace.ahead", lambda *_: 3)
    monkeypatch.setattr("chicory.worker.intake.HOARDING", 1000)
    worker = Worker(app, WorkerConfig(concurrency=1))

    with anyio.fail_after(60):
        handles = [await holding.task.delay() for _ in range(4)]
        await worker.start()
        await holding.begun.wait()
        while await app.broker.get_pending_count() < 4:
            await anyio.lowlevel.checkpoint()
        async with create_task_group() as group:
            group.start_soon(worker.stop)
            while await app.broker.get_queue_size() < 3:
                await anyio.lowlevel.checkpoint()
            still_running = await app.broker.get_pending_count()
            holding.gate.set()
        value = await handles[0].get()
        rest = await deliveries(app)

    assert still_running == 1
    assert value == "finished"
    assert rest == {handle.task_id: 0 for handle in handles[1:]}


async def test_what_does_not_finish_in_time_is_cancelled_and_given_back(app, holding, log):
    worker = Worker(app, WorkerConfig(shutdown_timeout=0.05))

    with anyio.fail_after(60):
        handle = await holding.task.delay()
        await worker.start()
        await holding.begun.wait()
        await worker.stop()
        state = await handle.state()
        rest = await deliveries(app)

    assert holding.cancelled == 1
    assert rest == {handle.task_id: 0}
    assert state is TaskState.PENDING
    assert await app.broker.get_dlq_count() == 0
    assert worker.get_stats().tasks_failed == 0
    assert log.count("giving back 1 tasks that did not finish within 0.05 s") == 1


@pytest.mark.parametrize("way", ["stop", "retire"])
async def test_a_timeout_counts_also_where_the_worker_stops_already(app, holding, log, way):
    worker = Worker(app, WorkerConfig(shutdown_timeout=1000))

    with anyio.fail_after(60):
        handle = await holding.task.delay()
        await worker.start()
        await holding.begun.wait()
        async with create_task_group() as group:
            if way == "stop":
                group.start_soon(worker.stop, 1000)
            else:
                worker.retire("enough")
            await log.heard("consumes no more, waits for 1 tasks")
            await worker.stop(timeout=0.05)
        rest = await deliveries(app)

    assert rest == {handle.task_id: 0}
    assert log.count("giving back 1 tasks that did not finish within 0.05 s") == 1


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_what_makes_an_error_of_its_cancellation_is_given_back_all_the_same(app, way):
    begun = Event()

    @app.task(name="stubborn")
    async def stubborn() -> None:
        begun.set()
        try:
            await sleep_forever()
        except BaseException:  # noqa: BLE001
            raise ConnectionError("interrupted") from None

    worker = Worker(app)
    with anyio.fail_after(60):
        handle = await stubborn.delay()
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await begun.wait()
            if way == "stop":
                await worker.stop(timeout=0)
            group.cancel_scope.cancel()
        rest = await deliveries(app)

    assert rest == {handle.task_id: 0}
    assert worker.get_stats().tasks_failed == 0


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_what_uses_task_groups_of_its_own_is_given_back_all_the_same(app, way, anyio_backend):
    begun = Event()

    @app.task(name="nested")
    async def nested() -> None:
        if anyio_backend == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                begun.set()
                await trio.sleep_forever()
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1000))
                begun.set()
                await asyncio.sleep(1000)

    worker = Worker(app)
    with anyio.fail_after(60):
        handle = await nested.delay()
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await begun.wait()
            if way == "stop":
                await worker.stop(timeout=0)
            group.cancel_scope.cancel()
        rest = await deliveries(app)

    assert rest == {handle.task_id: 0}


async def test_a_task_that_finishes_when_it_is_cancelled_has_its_result(app):
    begun = Event()

    @app.task(name="stubborn")
    async def stubborn() -> str:
        begun.set()
        with suppress(BaseException):
            await sleep_forever()
        return "saved what it had"

    worker = Worker(app)
    with anyio.fail_after(60):
        handle = await stubborn.delay()
        await worker.start()
        await begun.wait()
        await worker.stop(timeout=0)
        value = await handle.get()

    assert value == "saved what it had"


async def test_a_sync_task_that_does_not_finish_in_time_is_given_back_while_its_thread_goes_on(
    app,
):
    begun, ended, gate = Event(), threading.Event(), threading.Event()

    @app.task(name="blocking")
    def blocking() -> str:
        anyio.from_thread.run_sync(begun.set)
        gate.wait(20)
        ended.set()
        return "too late"

    worker = Worker(app)
    with anyio.fail_after(60):
        handle = await blocking.delay()
        await worker.start()
        await begun.wait()
        await worker.stop(timeout=0)
        rest = await deliveries(app)
        gate.set()
        await anyio.to_thread.run_sync(ended.wait)

    assert rest == {handle.task_id: 0}


async def test_what_never_ends_is_given_back_and_named(app, log, monkeypatch):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.05)
    begun, gate = Event(), Event()

    @app.task(name="deaf")
    async def deaf() -> None:
        begun.set()
        with CancelScope(shield=True):
            await gate.wait()

    worker = Worker(app)
    with anyio.fail_after(60):
        handle = await deaf.delay()
        await worker.start()
        await begun.wait()
        async with create_task_group() as group:
            group.start_soon(worker.stop, 0)
            await log.heard("does not end although it was cancelled")
            while await app.broker.get_queue_size() < 1:
                await anyio.lowlevel.checkpoint()
            rest = await deliveries(app)
            gate.set()

    assert rest == {handle.task_id: 0}
    assert await handle.state() is TaskState.STARTED  # where it was fetched just now


async def test_outcomes_are_durable_when_stop_returns(app):
    @app.task(name="quick")
    async def quick(number: int) -> int:
        return number

    worker = Worker(app)
    with anyio.fail_after(60):
        async with worker:
            handles = [await quick.delay(number) for number in range(200)]
            await handles[-1].get()
        stored = [await app.backend.get_result(handle.task_id) for handle in handles]
        counts = (await app.broker.counts(["default"]))["default"]

    assert [one and one.result for one in stored] == list(range(200))
    assert (counts.ready, counts.leased) == (0, 0)


async def test_the_last_heartbeat_says_that_the_worker_is_not_running(app, holding):
    worker = Worker(app)

    with anyio.fail_after(60):
        async with worker:
            while not await app.backend.get_active_workers():
                await anyio.lowlevel.checkpoint()
            (active,) = await app.backend.get_active_workers()
        last = await app.backend.get_heartbeat(worker.worker_id)

    assert active.worker_id == worker.worker_id
    assert active.is_running
    assert last is not None
    assert not last.is_running
    assert await app.backend.get_active_workers() == []


# -- starting, and again ------------------------------------------------------------------


async def test_a_second_stop_waits_for_the_same_end(app, holding):
    worker, ended = Worker(app), []

    async def stop() -> None:
        await worker.stop()
        ended.append(worker.get_stats().is_running)

    with anyio.fail_after(60):
        await worker.start()
        handle = await holding.task.delay()
        await holding.begun.wait()
        async with create_task_group() as group:
            group.start_soon(stop)
            group.start_soon(stop)
            await anyio.lowlevel.checkpoint()
            before = list(ended)
            holding.gate.set()
        await worker.stop()

    assert before == []
    assert ended == [False, False]
    assert await handle.get() == "finished"


async def test_stop_does_not_return_before_the_worker_has_left(app, cable):
    worker = Worker(app)

    with anyio.fail_after(60):
        await worker.start()
        async with create_task_group() as group:
            cable.stuck.add("close")
            group.start_soon(worker.stop)
            await cable.called("close", 1)
            with pytest.raises(RuntimeError, match="running already"):
                await worker.start()
            with anyio.move_on_after(0.02) as second:
                await worker.stop()
            cable.mend()

    assert second.cancelled_caught


async def test_a_worker_that_never_began_stops_at_once(app):
    await Worker(app).stop()


async def test_a_worker_begins_only_once_at_a_time(app):
    async with Worker(app) as worker:
        with pytest.raises(RuntimeError, match="running already"):
            await worker.start()
        with pytest.raises(RuntimeError, match="running already"):
            await worker.run()


async def test_a_worker_that_stopped_can_begin_again_as_another_one(app):
    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    worker, ids, values = Worker(app), [], []
    with anyio.fail_after(60):
        for _ in range(3):
            async with worker:
                ids.append(worker.worker_id)
                values.append(await (await quick.delay()).get())
                processed = worker.get_stats().tasks_processed

    assert values == ["run"] * 3
    assert len(set(ids)) == 3
    assert processed == 1


async def test_a_broker_that_cannot_be_reached_is_an_error_at_the_start(app, cable):
    cable.down.add("open")
    worker = Worker(app)

    for begin in (worker.start, worker.run):
        with pytest.raises(BrokerConnectionError, match="the cable is pulled"):
            await begin()
    cable.mend()
    async with worker:
        running = worker.get_stats().is_running

    assert running
    assert not worker.get_stats().is_running


async def test_a_task_that_can_never_be_run_is_an_error_at_the_start(app):
    @app.task(name="wrong")
    async def wrong(thing: Nowhere) -> None: ...  # noqa: F821

    with pytest.raises(ConfigurationError, match="wrong: its annotations cannot be resolved"):
        await Worker(app).start()


async def test_an_error_that_ends_the_worker_is_raised_and_its_keeper_ends(
    app, cable, log, holding
):
    cable.refused["fetch"] = ConfigurationError("the queue was removed by hand")

    async def work_until_it_ends(worker: Worker) -> None:
        await worker.start()  # raises it where the first heartbeat comes later
        await log.heard("ended by an error: the queue was removed by hand")
        await worker.stop()

    with pytest.raises(ConfigurationError, match="removed by hand"):
        await work_until_it_ends(Worker(app))
    with pytest.raises(ConfigurationError, match="removed by hand"):
        await Worker(app).run()

    assert [t for t in threading.enumerate() if t.name == "chicory keeper"] == []


async def test_the_keeper_ends_also_where_the_last_outcomes_meet_an_unexpected_error(
    app, cable, log, holding
):
    worker = Worker(app)

    await worker.start()
    await holding.task.send()
    await holding.begun.wait()
    cable.refused["settle"] = ZeroDivisionError("a fault of the transport")
    holding.gate.set()
    await log.heard("ended by an error")
    with pytest.raises(ZeroDivisionError):
        await worker.stop()

    assert [t for t in threading.enumerate() if t.name == "chicory keeper"] == []


async def test_an_error_of_one_run_is_not_raised_in_the_next(app, cable, log, holding):
    worker = Worker(app)
    await worker.start()
    await holding.task.send()
    await holding.begun.wait()
    cable.refused["settle"] = ZeroDivisionError("a fault of the transport")
    holding.gate.set()
    await log.heard("ended by an error")
    await worker._run.ended.wait()
    cable.mend()

    async with worker:
        running = worker.get_stats().is_running

    assert running


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_keeper_ends_although_asyncio_cancels_who_waits_for_that(app, monkeypatch):
    async def cancel(*_: object, **__: object) -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    worker = Worker(app)
    await worker.start()
    keeper = worker._run.reception.keeper
    monkeypatch.setattr(anyio.to_thread, "run_sync", cancel)
    await worker.stop()

    await asyncio.to_thread(keeper._thread.join, 30)
    assert not keeper.is_alive


async def test_start_that_is_cancelled_leaves_nothing_behind(app, cable):
    worker = Worker(app)
    cable.stuck.add("open")

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.start)
            await cable.called("open", 1)
            group.cancel_scope.cancel()
    cable.mend()
    async with worker:
        running = worker.get_stats().is_running

    assert running


async def test_stop_while_it_starts_ends_the_start(app, cable):
    worker = Worker(app)
    cable.stuck.add("open")

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.start)
            await cable.called("open", 1)
            await worker.stop()

    assert not worker.get_stats().is_running


@pytest.mark.parametrize("verb", ["open", "fetch", "renew", "beat", "settle", "close"])
async def test_run_cancelled_in_any_verb_gives_everything_back(
    app, cable, holding, verb, monkeypatch
):
    if verb == "settle":  # else a busy machine may need longer to answer
        monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.1)
    monkeypatch.setattr("chicory.worker.connections.FAREWELL", 0.1)
    monkeypatch.setattr("chicory.worker.keeper.LAST_WORDS", 0.1)
    worker = Worker(app)

    with anyio.fail_after(60):
        handle = await holding.task.delay()
        async with create_task_group() as group:
            group.start_soon(worker.run)
            if verb not in {"open", "fetch"}:
                await holding.begun.wait()
            cable.stuck.add(verb)
            if verb in {"open", "fetch"}:
                await cable.called(verb, cable.calls[verb] + 1)
            group.cancel_scope.cancel()
        cable.mend()
        if verb == "settle":  # nobody can say whether it was given back
            return
        rest = await deliveries(app)

    assert rest == {handle.task_id: 0}
    assert not worker.get_stats().is_running


async def test_run_cancelled_at_any_moment_gives_everything_back(app):
    """At each of the first turns of the event loop."""
    run = []

    @app.task(name="quick")
    async def quick(number: int) -> None:
        run.append(number)
        await anyio.lowlevel.checkpoint()

    handles = [await quick.delay(number) for number in range(60)]
    with anyio.fail_after(60):
        for turns in range(25):
            async with create_task_group() as group:
                group.start_soon(Worker(app, WorkerConfig(concurrency=2)).run)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert await app.broker.get_pending_count() == 0
        rest = await deliveries(app)
        done = [h.task_id for h in handles if await h.state() is TaskState.SUCCESS]

    assert sorted([*rest, *done]) == sorted(handle.task_id for handle in handles)
    assert set(rest.values()) <= {0}


async def test_a_cancelled_body_of_async_with_gives_everything_back(app, holding):
    with anyio.fail_after(60):
        handle = await holding.task.delay()
        with CancelScope() as scope:
            async with Worker(app, WorkerConfig(shutdown_timeout=0)):
                await holding.begun.wait()
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        rest = await deliveries(app)

    assert rest == {handle.task_id: 0}


def test_an_event_loop_that_ends_with_a_worker_running_gives_everything_back(
    url, clock, anyio_backend_name
):
    app = Chicory(url, clock=clock)
    begun = []

    @app.task(name="hold")
    async def hold() -> None:
        begun.append(1)
        await sleep_forever()

    async def careless() -> str:
        ids = [await hold.send() for _ in range(9)]
        worker = Worker(app, WorkerConfig(concurrency=4))
        await worker.start()
        while len(begun) < 4:
            await anyio.lowlevel.checkpoint()
        return ids[0]

    async def look() -> tuple[dict[str, int], int]:
        return await deliveries(app), await app.broker.get_dlq_count()

    anyio.run(careless, backend=anyio_backend_name)
    rest, dead = anyio.run(look, backend=anyio_backend_name)
    gc.collect()

    assert len(rest) == 9
    assert set(rest.values()) == {0}
    assert dead == 0
    assert [t for t in threading.enumerate() if t.name == "chicory keeper"] == []


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend_name(request):
    return request.param


async def test_a_broker_that_is_gone_does_not_keep_a_worker_from_stopping(
    app, cable, holding, log, monkeypatch
):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.1)
    worker = Worker(app)

    with anyio.fail_after(60):
        await worker.start()
        await holding.task.delay()
        await holding.begun.wait()
        cable.pull()
        holding.gate.set()
        await worker.stop()

    assert log.count("the broker does not answer: 1 outcomes are lost, their tasks run again") == 1


@pytest.mark.parametrize("verb", ["settle", "renew", "beat", "fetch", "counts", "close"])
async def test_a_broker_that_never_answers_does_not_keep_a_worker_from_stopping(
    app, cable, holding, monkeypatch, verb
):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 0.1)
    monkeypatch.setattr("chicory.worker.connections.FAREWELL", 0.1)
    monkeypatch.setattr("chicory.worker.keeper.LAST_WORDS", 0.1)
    worker = Worker(app)

    with anyio.fail_after(60):
        await worker.start()
        await holding.task.delay()
        await holding.begun.wait()
        cable.stuck.add(verb)
        holding.gate.set()
        await worker.stop()

    assert not worker.get_stats().is_running
    cable.mend()


async def test_a_keeper_that_never_connected_does_not_keep_a_worker_from_stopping(
    app, cable, holding, monkeypatch
):
    monkeypatch.setattr("chicory.worker.run.INTRODUCTION", 0)
    worker = Worker(app)

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.start)
            await cable.called("open", 1)  # the worker's own
            cable.stuck.add("open")
        await cable.called("open", 2)  # the keeper's
        await worker.stop()

    assert [t for t in threading.enumerate() if t.name == "chicory keeper"] == []
    cable.mend()


async def test_stats_and_health_are_those_of_now(app, cable, holding, working):
    async with working(concurrency=7, queue="default") as worker:
        await holding.task.delay()
        await holding.begun.wait()
        healthy = await worker.healthcheck()
        await app.broker_link.close()
        cable.down.add("open")
        ill = await worker.healthcheck()
        cable.mend()

    assert (healthy.concurrency, healthy.active_tasks) == (7, 1)
    assert [task.name for task in healthy.running] == ["hold"]
    assert healthy.broker is not None
    assert healthy.broker.connected
    assert ill.broker is not None
    assert (ill.broker.connected, ill.broker.error) == (False, "the cable is pulled")


def test_a_worker_can_be_run_in_a_thread_of_its_own(url, anyio_backend_name):
    app = Chicory(url, config=ChicoryConfig())

    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    worker, started, failures = Worker(app), threading.Event(), []
    stop: list = []

    async def main() -> None:
        asked = Event()
        async with create_task_group() as group:
            group.start_soon(worker.run)
            portal = anyio.from_thread.BlockingPortal()
            async with portal:
                stop.append(lambda: portal.call(asked.set))
                started.set()
                await asked.wait()
            await worker.stop()

    def run() -> None:
        try:
            anyio.run(main, backend=anyio_backend_name)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
            started.set()

    async def ask() -> int:
        with anyio.fail_after(60):
            async with app:
                return await (await add.delay(1, 2)).get()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(20)
    value = anyio.run(ask, backend=anyio_backend_name)
    stop[0]()
    thread.join(20)

    assert value == 3
    assert failures == []
    assert not thread.is_alive()


async def test_run_can_be_started_in_a_task_group(app):
    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    worker = Worker(app)
    with anyio.fail_after(60):
        async with create_task_group() as group:
            await group.start(worker.run)
            running = worker.get_stats().is_running
            value = await (await quick.delay()).get()
            group.cancel_scope.cancel()

    assert running
    assert value == "run"
