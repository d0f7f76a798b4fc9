"""Of many who wait as many are woken as there are messages, and none of them in vain."""

import anyio
import pytest

from chicory.testing.contract.steps import QUEUE, done, ids, message, take
from chicory_redis.waiting import Waiting

# a fetch that waits looks again by itself after half its lease: far too late for these tests

WAITERS = "{chicory}:z:q"


@pytest.fixture
def registered(server):
    async def registered(number: int) -> None:
        """Wait until so many fetches wait."""
        with anyio.fail_after(60):
            while server.command("ZCARD", WAITERS) != number:
                await anyio.lowlevel.checkpoint()

    return registered


async def test_one_message_wakes_one_of_many(make, registered):
    async with (
        make(lease=60) as one,
        make(lease=60) as two,
        make(lease=60) as three,
        make(lease=60) as publisher,
    ):
        fetched: list[str] = []

        async def fetch(transport) -> None:
            fetched.extend(ids(await transport.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            for transport in (one, two, three):
                group.start_soon(fetch, transport)
            await registered(3)
            calls = [transport.calls for transport in (one, two, three)]
            await publisher.publish([message("1")])
            await registered(2)
            with anyio.fail_after(60):
                while not fetched:
                    await anyio.lowlevel.checkpoint()
            woken = [t.calls - before for t, before in zip((one, two, three), calls, strict=True)]
            group.cancel_scope.cancel()

        assert sorted(woken) == [0, 0, 1]
        assert fetched == ["1"]


async def test_a_fetch_that_finds_nothing_waits_after_one_call(make, registered):
    async with make(lease=60) as transport:
        calls = []
        for _ in range(2):  # the first one makes the connection to hear by
            await registered(0)
            before = transport.calls
            async with anyio.create_task_group() as group:
                group.start_soon(transport.fetch, [QUEUE], 1, 60)
                await registered(1)
                calls.append(transport.calls - before)
                group.cancel_scope.cancel()

        assert calls[1] == 1


async def test_who_waits_no_more_is_struck_off(make, registered):
    async with make(lease=60) as transport:
        async with anyio.create_task_group() as group:
            group.start_soon(transport.fetch, [QUEUE, "other"], 1, 60)
            await registered(1)
            group.cancel_scope.cancel()

        await registered(0)


async def test_a_client_that_vanished_is_passed_over(make, server, registered):
    async with make(lease=60) as here, make(lease=60) as there:
        server.command("ZADD", WAITERS, 0, "gone 1")
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await here.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(2)
            with anyio.fail_after(60):
                await there.publish([message("1")])
                while not fetched:
                    await anyio.lowlevel.checkpoint()

        assert fetched == ["1"]


async def test_a_wake_up_for_a_fetch_that_ended_wakes_the_next_one(make, registered, monkeypatch):
    monkeypatch.setattr(Waiting, "leave", forget)  # as when its client is too busy to say so
    async with make(lease=60) as busy, make(lease=60) as idle, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await idle.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(_fetch_within, scope, busy)
            await registered(1)
            scope.cancel()
            group.start_soon(fetch)
            await registered(2)
            with anyio.fail_after(60):
                await publisher.publish([message("1")])
                while not fetched:
                    await anyio.lowlevel.checkpoint()

        assert fetched == ["1"]


async def test_what_a_woken_fetch_leaves_wakes_the_next_one(make, registered):
    async with make(lease=60) as one, make(lease=60) as two, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch(transport) -> None:
            fetched.extend(ids(await transport.fetch(["other", QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            for transport in (one, two):
                group.start_soon(fetch, transport)
            await registered(2)
            with anyio.fail_after(60):
                await publisher.publish([message("1"), message("2", queue="other")])
                while len(fetched) < 2:
                    await anyio.lowlevel.checkpoint()

        assert sorted(fetched) == ["1", "2"]


async def test_a_resumed_queue_wakes_as_many_as_it_has_messages(make, registered):
    async with make(lease=60) as one, make(lease=60) as two, make(lease=60) as publisher:
        await publisher.set_paused(QUEUE, paused=True)
        await publisher.publish([message("1"), message("2")])
        fetched: list[str] = []

        async def work(transport) -> None:
            (delivery,) = await transport.fetch([QUEUE], 1, 60)
            await transport.settle([done(delivery)])
            fetched.append(delivery.task_id)

        async with anyio.create_task_group() as group:
            for transport in (one, two):
                group.start_soon(work, transport)
            await registered(2)
            with anyio.fail_after(60):
                await publisher.set_paused(QUEUE, paused=False)
                while len(fetched) < 2:
                    await anyio.lowlevel.checkpoint()

        assert sorted(fetched) == ["1", "2"]
        assert await take(publisher) == []


def forget(waiting, waiter, _queues) -> None:
    del waiting._waiters[waiter.token.rpartition(" ")[2].encode()]


async def _fetch_within(scope, transport) -> None:
    with scope:
        await transport.fetch([QUEUE], 1, 60)
