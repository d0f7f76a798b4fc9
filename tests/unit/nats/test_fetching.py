"""What fetching leaves behind."""

from __future__ import annotations

import asyncio
import math

import pytest
from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import done, message
from chicory.transport import TransportSettings
from chicory_nats.address import parse
from chicory_nats.claims import Claims
from chicory_nats.client import Client
from chicory_nats.fetching import Fetcher
from chicory_nats.headers import status
from chicory_nats.pull import Level, Pull
from chicory_nats.pulls import Pulls
from chicory_nats.space import Space

_LEVEL = Level(0, b"q", 1, "q_1")
_PATIENCE = 60.0


def test_a_request_that_cannot_be_made_is_not_kept(server, namespace):
    async def ask_when_closed():
        settings = TransportSettings(url=server.url, namespace=namespace)
        space = Space(parse(server.url), settings, lambda *_: None)
        await space.open()
        await space.close()
        with pytest.raises(BrokerConnectionError):
            await space.fetcher._ask([_LEVEL], 1, [])
        return space.fetcher._under_way

    assert asyncio.run(ask_when_closed()) == set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_is_waited_for_is_settled_before_the_wait_is_taken_back(connect, monkeypatch):
    written: list[bytes] = []
    standing = Event()
    send = Client._send

    def note(client, commands):
        written.append(client._soon + commands)
        if b'"idle_heartbeat"' in commands:
            standing.set()
        send(client, commands)

    monkeypatch.setattr(Client, "_send", note)
    worker, publisher = await connect(), await connect()

    async def settle_what_comes():
        deliveries = await worker.fetch(["q"], 5, math.inf)
        await worker.settle([done(delivery) for delivery in deliveries])

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(settle_what_comes)
            await standing.wait()
            await publisher.publish([message("1")])

    commands = b"".join(written)
    assert commands.index(b".m.e.~.~.1 ") < commands.index(b"UNSUB ")


async def test_a_consumer_is_asked_anew_within_a_minute_though_it_says_that_a_fetch_waits(
    connect, monkeypatch
):
    waits: list[float] = []
    command = Pull.command

    def note(pull, session, inbox, wait, *, no_wait):
        waits.append(wait)
        return command(pull, session, inbox, wait, no_wait=no_wait)

    monkeypatch.setattr(Pull, "command", note)
    monkeypatch.setattr("chicory_nats.pull._HEARTBEAT", 0.05)
    worker, publisher = await connect(), await connect()

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(worker.fetch, ["q"], 1, math.inf)
            while not worker.vouches():
                await checkpoint()
            await publisher.publish([message("1")])

    assert 0 < max(waits) <= 60


async def test_a_fetch_is_vouched_for_while_all_consumers_say_that_it_waits(connect, monkeypatch):
    monkeypatch.setattr("chicory_nats.pull._HEARTBEAT", 0.05)
    worker, publisher = await connect(), await connect()
    assert not worker.vouches()

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(worker.fetch, ["q"], 1, math.inf)
            while not worker.vouches():
                await checkpoint()
            with monkeypatch.context() as later:
                later.setattr("chicory_nats.fetching.SILENCE", 0.0)
                assert not worker.vouches()
            await publisher.publish([message("1")])

    assert not worker.vouches()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_fetch_of_which_one_consumer_says_nothing_is_not_vouched_for(connect, monkeypatch):
    monkeypatch.setattr("chicory_nats.pull._HEARTBEAT", 0.05)
    others: list[int] = []
    enough = Event()
    hear = Pulls._hear

    def hear_others(pulls, number, headers):
        if status(headers) != b"100":
            hear(pulls, number, headers)
        elif number:
            hear(pulls, number, headers)
            others.append(number)
            if min(others.count(1), others.count(2)) > 1:
                enough.set()

    monkeypatch.setattr(Pulls, "_hear", hear_others)
    worker, publisher = await connect(), await connect()
    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(worker.fetch, ["q"], 1, math.inf)
            await enough.wait()
            assert not worker.vouches()
            await publisher.publish([message("1")])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_came_when_the_event_loop_ended_is_given_back(make, monkeypatch):
    accept = Claims.accept

    async def end_the_loop(claims, came, room):
        if came:
            monkeypatch.setattr(Claims, "accept", accept)
            for task in running() - before:
                task.cancel()
            await asyncio.sleep(0)
        return await accept(claims, came, room)

    running = asyncio.all_tasks
    async with make(lease=60.0) as worker:
        await worker.publish([message("1"), message("2")])
        before = running()
        monkeypatch.setattr(Claims, "accept", end_the_loop)
        fetching = asyncio.create_task(worker.fetch(["q"], 2, 0))
        with pytest.raises(asyncio.CancelledError):
            await fetching

        again = await worker.fetch(["q"], 2, 5)

    assert [one.deliveries for one in again] == [1, 1]


async def test_a_first_fetch_asks_all_levels_at_once_of_which_nothing_waits(connect, monkeypatch):
    asked: list[int] = []
    ask = Fetcher._ask

    async def note(fetcher, levels, *args):
        asked.append(len(levels))
        return await ask(fetcher, levels, *args)

    monkeypatch.setattr(Fetcher, "_ask", note)
    queues = [f"q{number}" for number in range(20)]
    worker, publisher = await connect(), await connect()
    await publisher.publish([message("1", queue="q19")])

    with fail_after(_PATIENCE):
        (delivery,) = await worker.fetch(queues, 5, math.inf)

    assert delivery.queue == "q19"
    assert len(asked) <= 3
