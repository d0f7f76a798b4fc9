"""The broker goes away while a worker works, and comes back."""

from __future__ import annotations

import anyio
import pytest
from anyio import Event

from chicory import TaskState
from chicory.errors import ConfigurationError, QueueFullError


async def test_a_worker_waits_for_its_broker_and_loses_nothing(app, working, cable, log):
    begun, gate = Event(), Event()
    run = []

    @app.task(name="work")
    async def work(number: int) -> int:
        run.append(number)
        if len(run) == 4:
            begun.set()
        await gate.wait()
        return number

    async with working(concurrency=4) as worker:
        handles = [await work.delay(number) for number in range(12)]
        await begun.wait()
        calls = dict(cable.calls)
        cable.pull()
        gate.set()
        await cable.called("settle", calls.get("settle", 0) + 4)
        stats = worker.get_stats()
        cable.mend()
        values = await app.gather(handles)

    assert stats.is_running
    assert values == list(range(12))
    assert sorted(run) == list(range(12))


async def test_each_trouble_is_told_once_and_its_end_once(app, working, cable, log, monkeypatch):
    monkeypatch.setattr("chicory.worker.patience.LONGEST", 0.02)

    @app.task(name="quick")
    async def quick() -> str:
        return "settled"

    async with working(heartbeat_interval=0.01, heartbeat_ttl=1):
        await cable.called("fetch", 1)
        await cable.called("beat", 2)
        handle = await quick.delay()
        await handle.get()
        cable.pull()
        await cable.called("fetch", cable.calls["fetch"] + 4)
        await cable.called("beat", cable.calls["beat"] + 4)
        cable.mend()
        again = await (await quick.delay()).get()
        await log.heard("fetching works again")
        await log.heard("the heartbeat works again")

    assert again == "settled"
    assert log.count("fetching fails, trying on: the cable is pulled") == 1
    assert log.count("the heartbeat fails, trying on: the cable is pulled") == 1
    assert log.count("fetching works again") == 1


async def test_outcomes_whose_settlement_lost_its_answer_are_settled_once(app, working, cable, log):
    run = []

    @app.task(name="quick")
    async def quick() -> str:
        run.append(1)
        return "settled"

    async with working():
        cable.deaf.add("settle")
        handle = await quick.delay()
        value = await handle.get()
        await cable.called("settle", 2)
        cable.mend()
        await log.heard("settling works again")

    assert value == "settled"
    assert run == [1]
    assert await app.broker.get_pending_count() == 0


async def test_a_broker_without_room_is_waited_for(app, working, cable, log):
    @app.task(name="quick")
    async def quick() -> str:
        return "settled"

    async with working():
        cable.refused["settle"] = QueueFullError("no room")
        handle = await quick.delay()
        await cable.called("settle", 3)
        cable.mend()
        value = await handle.get()

    assert value == "settled"
    assert log.count("settling fails, trying on: no room") == 1


@pytest.mark.parametrize(
    ("mode", "verb"),
    [
        ("at_least_once", "fetch"),
        ("at_least_once", "settle"),
        ("at_most_once", "fetch"),
        ("at_most_once", "store"),
    ],
)
async def test_a_permission_that_is_taken_away_is_waited_for_and_nothing_is_lost(
    app, working, cable, log, monkeypatch, verb, mode
):
    monkeypatch.setattr("chicory.worker.patience.LONGEST", 0.02)
    gate, run = Event(), []

    @app.task(name="work", delivery_mode=mode)
    async def work(number: int) -> int:
        run.append(number)
        await gate.wait()
        return number

    with anyio.fail_after(60):
        async with working() as worker:
            first = await work.delay(1)
            while not run:
                await anyio.lowlevel.checkpoint()
            cable.refused[verb] = ConfigurationError("the user lacks a permission")
            second = await work.delay(2)
            gate.set()
            await cable.called(verb, cable.calls[verb] + 3)
            is_running = worker.get_stats().is_running
            cable.mend()
            values = await app.gather([first, second])

    assert is_running
    assert values == [1, 2]
    assert run == [1, 2]


async def test_an_answer_of_fetch_that_comes_while_the_worker_stops_is_given_back(
    app, working, cable
):
    @app.task(name="quick")
    async def quick() -> None: ...

    async with working() as worker:
        await cable.called("fetch", 1)
        handle = await quick.delay()
        await worker.stop(timeout=0)

    assert await handle.state() in {TaskState.PENDING, TaskState.SUCCESS}
    assert await app.broker.get_pending_count() == 0
