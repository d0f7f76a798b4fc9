"""What a worker takes from its queues, in which order, and what it leaves to others."""

from __future__ import annotations

import anyio
import pytest
from anyio import Event, sleep_forever

from chicory import Chicory, RetryPolicy, TaskError, Worker, WorkerConfig
from chicory.context import TaskContext
from chicory.message import TaskMessage, encode
from chicory.testing.memory import MemoryTransport
from chicory.transport import Priority, Publication


async def leased(app) -> int:
    return (await app.broker.counts(["default"]))["default"].leased


async def test_queues_are_served_strictly_in_the_order_given(app, working):
    run = []

    @app.task(name="note")
    async def note(queue: str) -> None:
        run.append(queue)

    handles = []
    for queue in ("third", "second", "first") * 3:
        message = TaskMessage(id=f"{len(handles)}", name="note", args=[queue])
        await app.broker.publish(message, queue=queue)
        handles.append(app.result(message.id))
    async with working(concurrency=1, queues=["first", "second", "third"]):
        await app.gather(handles)

    assert run == ["first"] * 3 + ["second"] * 3 + ["third"] * 3


async def test_queues_with_weights_take_turns_in_going_first(app, working, monkeypatch):
    asked = set()
    fetch = MemoryTransport.fetch

    async def listen(self, queues, limit, wait):
        asked.add(tuple(queues))
        return await fetch(self, queues, limit, wait)

    monkeypatch.setattr(MemoryTransport, "fetch", listen)

    @app.task(name="note", queue="a")
    async def note() -> None:
        pass

    async with working(queues={"a": 1, "b": 1}):
        for _ in range(60):
            await (await note.delay()).get()

    assert asked == {("a", "b"), ("b", "a")}


async def test_what_ends_at_once_is_settled_before_more_is_asked_for(app, working, monkeypatch):
    asked = []
    fetch, settle = MemoryTransport.fetch, MemoryTransport.settle

    async def note_fetch(self, *arguments):
        asked.append("fetch")
        return await fetch(self, *arguments)

    async def note_settle(self, settlements):
        asked.append("settle")
        return await settle(self, settlements)

    monkeypatch.setattr(MemoryTransport, "fetch", note_fetch)
    monkeypatch.setattr(MemoryTransport, "settle", note_settle)

    @app.task(name="task")
    async def task() -> None:
        pass

    async with working():
        for _ in range(20):
            await (await task.delay()).get()
            with anyio.fail_after(60):
                while asked[-1] != "fetch":  # the next one, which will find nothing
                    await anyio.lowlevel.checkpoint()

    assert asked[:41] == ["fetch", *["settle", "fetch"] * 20]


async def test_higher_priorities_go_first(app, working):
    run = []

    @app.task(name="note")
    async def note(priority: int) -> None:
        run.append(priority)

    handles = []
    for priority in (0, 1, 2) * 2:
        message = TaskMessage(id=f"{len(handles)}", name="note", args=[priority], priority=priority)
        await app.broker.publish(message)
        handles.append(app.result(message.id))
    async with working(concurrency=1):
        await app.gather(handles)

    assert run == [2, 2, 1, 1, 0, 0]


async def test_the_configured_queue_is_served_where_none_is_named(app, working):
    @app.task(name="where", queue="mail")
    async def where() -> str:
        return "here"

    async with working(queue="mail") as worker:
        value = await (await where.delay()).get()

    assert value == "here"
    assert worker.get_stats().queue == "mail"


async def test_a_paused_queue_rests_and_what_runs_goes_on(app, working):
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> str:
        begun.set()
        await gate.wait()
        return "finished"

    @app.task(name="next")
    async def following() -> str:
        return "resumed"

    async with working(concurrency=2):
        held = await hold.delay()
        await begun.wait()
        await app.broker.pause()
        waiting = await following.delay()
        gate.set()
        first = await held.get()
        ready = await app.broker.get_queue_size()
        await app.broker.resume()
        second = await waiting.get()

    assert (first, ready, second) == ("finished", 1, "resumed")


async def test_no_more_is_held_than_there_are_slots_while_tasks_are_slow(app, working):
    full = Event()
    running = 0

    @app.task(name="slow")
    async def slow() -> None:
        nonlocal running
        running += 1
        if running == 3:
            full.set()
        await sleep_forever()

    for _ in range(10):
        await slow.send()
    async with working(concurrency=3):
        await full.wait()
        counts = (await app.broker.counts(["default"]))["default"]

    assert (counts.leased, counts.ready) == (3, 7)


async def test_a_slow_task_holds_up_nothing_that_another_worker_can_run(app, url, clock):
    """Short tasks make the worker fetch ahead; then comes a slow one before the last of them."""
    gate, slow_begun = Event(), Event()

    @app.task(name="short")
    async def short() -> None: ...

    @app.task(name="slow")
    async def slow() -> None:
        slow_begun.set()
        await gate.wait()

    config = WorkerConfig(concurrency=1)
    first, second = Worker(app, config), Worker(app, config)
    with anyio.fail_after(60):
        for _ in range(2000):
            await short.send()
        await slow.send()
        last = [await short.delay() for _ in range(3)]
        async with first:
            await slow_begun.wait()
            async with second:
                await app.gather(last)
            gate.set()

    assert second.get_stats().tasks_processed == 3


async def test_what_is_held_goes_back_although_a_fetch_waits_for_more(app, working, monkeypatch):
    monkeypatch.setattr("chicory.worker.pace.Pace.ahead", lambda *_: 100)
    begun, gate = Event(), Event()

    @app.task(name="slow")
    async def slow() -> None:
        begun.set()
        await gate.wait()

    @app.task(name="short")
    async def short() -> str:
        return "run"

    async with working(concurrency=1) as worker:
        await slow.delay()
        await begun.wait()
        held = await short.delay()
        while (await app.broker.counts(["default"]))["default"].leased < 2:
            await anyio.lowlevel.checkpoint()
        monkeypatch.setattr("chicory.worker.pace.Pace.ahead", lambda *_: 0)
        while await leased(app) > 1:
            await anyio.lowlevel.checkpoint()
        async with working(concurrency=1):
            value = await held.get()
        gate.set()

    assert value == "run"
    assert worker.get_stats().tasks_processed <= 1


# -- two servers --------------------------------------------------------------------------


async def test_results_may_be_on_another_server(url, clock):
    app = Chicory(url, f"{url}-results", clock=clock)

    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="fail")
    async def fail() -> None:
        raise ValueError("bad")

    async with app, Worker(app) as worker:
        with anyio.fail_after(60):
            value = await (await add.delay(1, 2)).get()
            with pytest.raises(TaskError, match="bad"):
                await (await fail.delay()).get()
            health = await worker.healthcheck()

    assert value == 3
    assert await app.broker.get_dlq_count() == 1
    assert health.broker is not None
    assert health.backend is not None
    assert (health.broker.connected, health.backend.connected) == (True, True)


async def test_a_worker_that_lost_its_lease_overwrites_no_result_on_another_server(url, clock, log):
    app = Chicory(url, f"{url}-results", clock=clock)
    begun, gate = Event(), Event()
    answers = iter(["of the zombie", "of the heir"])

    @app.task(name="answer")
    async def answer() -> str:
        mine = next(answers)
        if mine == "of the zombie":
            begun.set()
            await gate.wait()
        return mine

    async with app:
        with anyio.fail_after(60):
            handle = await answer.delay()
            async with Worker(app):
                await begun.wait()
                clock.advance(app.config.lease + 1)
                async with Worker(app):
                    value = await handle.get()
                gate.set()
                await log.heard("its lease was lost meanwhile")
            kept = await handle.get()

    assert (value, kept) == ("of the heir", "of the heir")


async def test_without_a_backend_tasks_run_and_nothing_is_stored(url, clock):
    app = Chicory(url, None, clock=clock)
    run = Event()

    @app.task(name="run")
    async def go() -> None:
        run.set()

    async with app, Worker(app) as worker:
        with anyio.fail_after(60):
            await go.send()
            await run.wait()
            health = await worker.healthcheck()

    assert health.backend is None


async def test_a_result_and_the_end_of_its_message_are_one_step(app, working):
    @app.task(name="quick")
    async def quick() -> None: ...

    seen = []

    async with working():
        for _ in range(20):
            handle = await quick.delay()
            await handle.get()
            counts = (await app.broker.counts(["default"]))["default"]
            seen.append(counts.ready + counts.leased)

    assert seen == [0] * 20


async def test_a_message_keeps_its_priority_over_a_retry(app, working, clock, log):
    @app.task(
        name="fail",
        priority=Priority.HIGH,
        retry_policy=RetryPolicy(max_retries=1, retry_delay=50, jitter=False),
    )
    async def fail(ctx: TaskContext) -> None:
        raise ValueError

    async with working() as worker:
        await fail.delay()
        await log.heard("next attempt in 50 s")
        await worker.stop()
    clock.advance(50)
    session = await app.broker_link.session()
    (delivery,) = await session.transport.fetch(["default"], 1, 0)

    assert delivery.priority is Priority.HIGH


async def test_a_hundred_thousand_bytes_that_are_no_message_end_as_dead_letters_beside_good_ones(
    app, working
):
    @app.task(name="good")
    async def good() -> str:
        return "good"

    session = await app.broker_link.session()
    bad = [Publication("default", f"bad{n}", bytes([n]) * 400) for n in range(250)]
    await session.transport.publish(bad)
    await session.transport.publish(
        [Publication("default", "good", encode(TaskMessage(id="good", name="good")))]
    )

    async with working(concurrency=4):
        value = await app.result("good").get()
        letters = await app.broker.get_dlq_messages(count=1000)

    assert value == "good"
    assert {letter.message_id: letter.body for letter in letters} == {
        each.task_id: each.body for each in bad
    }
