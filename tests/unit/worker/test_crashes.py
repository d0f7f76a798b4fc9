"""Messages that their workers died of: how often they are delivered, and what runs beside them."""

from __future__ import annotations

import anyio
import pytest
from anyio import Event, sleep_forever

from chicory import TaskError, Worker, WorkerConfig
from chicory.testing.memory import MemoryTransport
from chicory.worker import quarantine


async def leased(app) -> int:
    return (await app.broker.counts(["default"]))["default"].leased


async def crash(app, clock, queue="default", times=1) -> None:
    """Have the messages fetched by a worker that dies, so many times."""
    session = await app.broker_link.session()
    for _ in range(times):
        await session.transport.fetch([queue], 1000, 0)
        clock.advance(app.config.lease + 1)


async def test_a_message_whose_workers_died_too_often_becomes_a_dead_letter(app, working, clock):
    run = []

    @app.task(name="deadly")
    async def deadly() -> None:
        run.append(1)

    handle = await deadly.delay()
    await crash(app, clock, times=3)
    async with working(max_crashes=3):
        with pytest.raises(TaskError, match="its worker died, or lost its lease, 3 times"):
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages()

    assert letter.reason == "crashed"
    assert run == []


async def test_a_message_has_as_many_deliveries_as_are_allowed(app, working, clock):
    @app.task(name="deadly")
    async def deadly() -> str:
        return "at last"

    handle = await deadly.delay()
    await crash(app, clock, times=2)
    async with working(max_crashes=3):
        assert await handle.get() == "at last"


async def test_what_is_given_back_by_a_clean_stop_counts_for_no_crash(app, clock):
    begun = Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await sleep_forever()

    handle = await hold.delay()
    with anyio.fail_after(60):
        for _ in range(5):
            begun = Event()
            async with Worker(app, WorkerConfig(max_crashes=1)) as worker:
                await begun.wait()
                await worker.stop(timeout=0)
    session = await app.broker_link.session()
    (delivery,) = await session.transport.fetch(["default"], 1, 0)

    assert (delivery.task_id, delivery.deliveries) == (handle.task_id, 1)


async def test_suspects_run_one_at_a_time_and_others_beside_one_that_takes_long(
    app, working, clock, monkeypatch
):
    monkeypatch.setattr(quarantine, "PATIENCE", 0)
    gate, both = Event(), Event()
    running: set[str] = set()

    @app.task(name="suspect")
    async def suspect(name: str) -> str:
        running.add(name)
        await gate.wait()
        running.discard(name)
        return name

    @app.task(name="innocent")
    async def innocent() -> set[str]:
        both.set()
        return set(running)

    suspects = [await suspect.delay(name) for name in "abc"]
    await crash(app, clock, times=2)
    async with working(concurrency=8, max_crashes=3):
        while not running:
            await anyio.lowlevel.checkpoint()
        beside = await (await innocent.delay()).get()
        counts = (await app.broker.counts(["default"]))["default"]
        gate.set()
        names = []
        for handle in suspects:
            while not (await handle.ready()):
                clock.advance(1)
                await anyio.lowlevel.checkpoint()
            names.append(await handle.get())

    assert len(beside) == 1
    assert counts.delayed == 2
    assert names == ["a", "b", "c"]


async def test_no_suspect_begins_before_its_worker_is_rid_of_the_others(app, working, clock, cable):
    """Did it kill the worker at once, the others would be blamed for it."""
    begun = Event()

    @app.task(name="suspect")
    async def suspect() -> None:
        begun.set()
        await sleep_forever()

    for _ in range(3):
        await suspect.send()
    await crash(app, clock, times=2)
    cable.stuck.add("settle")
    async with working(concurrency=8, max_crashes=3) as worker:
        await cable.called("settle", 1)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        too_early = worker.get_stats().active_tasks
        cable.mend()
        await begun.wait()
        counts = (await app.broker.counts(["default"]))["default"]

    assert too_early == 0
    assert (counts.leased, counts.ready) == (1, 2)


async def test_a_suspect_that_has_not_begun_is_given_back_when_the_worker_stops(
    app, clock, cable, monkeypatch
):
    monkeypatch.setattr("chicory.worker.shift.FAREWELL", 1000)

    @app.task(name="suspect")
    async def suspect() -> None: ...

    for _ in range(3):
        await suspect.send()
    await crash(app, clock, times=2)
    worker = Worker(app, WorkerConfig(max_crashes=3))
    with anyio.fail_after(60):
        cable.stuck.add("settle")
        await worker.start()
        await cable.called("settle", 1)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            await anyio.lowlevel.checkpoint()
            cable.mend()
        session = await app.broker_link.session()
        fetched = await session.transport.fetch(["default"], 10, 0)

    assert [delivery.deliveries for delivery in fetched] == [3, 3, 3]
    assert worker.get_stats().tasks_processed == 0


async def test_suspects_run_one_right_after_the_other_before_what_came_later(app, working, clock):
    run = []

    @app.task(name="note")
    async def note(name: str) -> None:
        run.append(name)

    suspects = [await note.delay(name) for name in "abcde"]
    await crash(app, clock, times=2)
    later = [await note.delay(name) for name in "fg"]
    async with working(concurrency=4, max_crashes=3):
        await app.gather([*suspects, *later])  # in a time that stands still

    assert run == list("abcdefg")


async def test_what_has_to_wait_is_not_fetched_meanwhile(app, working, clock, monkeypatch):
    asked, gate = [], Event()
    fetch = MemoryTransport.fetch

    async def listen(self, queues, limit, wait):
        deliveries = await fetch(self, queues, limit, wait)
        asked.append((limit, len(deliveries)))
        return deliveries

    @app.task(name="suspect")
    async def suspect() -> None:
        await gate.wait()

    @app.task(name="innocent")
    async def innocent() -> None: ...

    suspects = [await suspect.delay() for _ in range(4)]
    await crash(app, clock, times=2)
    innocents = [await innocent.delay() for _ in range(6)]
    monkeypatch.setattr(MemoryTransport, "fetch", listen)
    monkeypatch.setattr(quarantine, "PATIENCE", 1000)
    async with working(concurrency=8, max_crashes=3) as worker:
        while worker.get_stats().active_tasks != 1 or (await leased(app)) > 1:
            await anyio.lowlevel.checkpoint()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        before = list(asked)
        gate.set()
        await app.gather([*suspects, *innocents])

    assert before == [(8, 8)]
    assert asked[1:5] == [(1, 1)] * 4
    assert asked[5][0] > 1


async def test_no_suspect_begins_before_the_outcome_of_the_last_one_is_durable(
    app, working, clock, cable
):
    """Did it kill the worker, the last one would be delivered once more, and be blamed for it."""
    run = []

    @app.task(name="suspect")
    async def suspect(name: str) -> None:
        run.append(name)
        cable.stuck.add("settle")

    handles = [await suspect.delay(name) for name in "ab"]
    await crash(app, clock, times=2)
    async with working(concurrency=8, max_crashes=3):
        await cable.called("settle", 2)  # what was given back, then the outcome
        while (await app.broker.counts(["default"]))["default"].leased < 2:
            await anyio.lowlevel.checkpoint()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        too_early = list(run)
        cable.mend()
        await handles[0].get()
        while len(run) < 2:
            await anyio.lowlevel.checkpoint()
        cable.mend()
        await handles[1].get()

    assert too_early == ["a"]
    assert run == ["a", "b"]
