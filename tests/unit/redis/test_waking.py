"""Of many who wait as many are woken as there are messages, and none of them in vain."""

import asyncio
import time

import anyio
import pytest

from chicory.testing.contract.steps import QUEUE, done, give, ids, message, record, retry, take
from chicory.transport import Accepted, Cancelled, Delivery, Settled
from chicory_redis.fetching import Fetching
from chicory_redis.translation import Lost

# a fetch that waits looks again by itself after half its lease: far too late for these tests

WAITERS = "{chicory}:z:q"
SOON = 20.0
"""Seconds: less than the half lease after which a fetch looks by itself."""


@pytest.fixture
def registered(server):
    async def registered(number: int) -> None:
        """Wait until so many fetches wait."""
        with anyio.fail_after(60):
            while server.command("ZCARD", WAITERS) != number:
                await anyio.lowlevel.checkpoint()

    return registered


@pytest.mark.parametrize(
    ("queues", "calls_of_one"),
    [([QUEUE], 0), ([QUEUE, "other"], 1)],
    ids=["it is handed the message", "it fetches the message"],
)
async def test_one_message_wakes_one_of_many(make, registered, queues, calls_of_one):
    async with (
        make(lease=60) as one,
        make(lease=60) as two,
        make(lease=60) as three,
        make(lease=60) as publisher,
    ):
        fetched: list[str] = []

        async def fetch(transport) -> None:
            fetched.extend(ids(await transport.fetch(queues, 1, 60)))

        async with anyio.create_task_group() as group:
            for transport in (one, two, three):
                group.start_soon(fetch, transport)
            await registered(3)
            for transport in (one, two, three):  # what is handed over may overtake the answer
                await transport.ping()
            calls = [transport.calls for transport in (one, two, three)]
            await publisher.publish([message("1")])
            await registered(2)
            with anyio.fail_after(60):
                while not fetched:
                    await anyio.lowlevel.checkpoint()
            woken = [t.calls - before for t, before in zip((one, two, three), calls, strict=True)]
            group.cancel_scope.cancel()

        assert sorted(woken) == [0, 0, calls_of_one]
        assert fetched == ["1"]


async def test_a_fetch_that_is_taken_for_blocked_and_is_not_looks_at_once(make, server, registered):
    fetched: list[str] = []
    async with make(lease=60) as transport, make(lease=60) as publisher:

        async def fetch() -> None:
            fetched.extend(ids(await transport.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(1)
            (waiter,) = server.command("ZRANGE", WAITERS, 0, 0)
            server.command("ZADD", WAITERS, 0, waiter)
            await publisher.publish([message("1")])
            with anyio.fail_after(SOON):
                while not fetched:
                    await anyio.lowlevel.checkpoint()

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


@pytest.mark.parametrize("waiter", ["gone 1", "gone 1 60000"])
async def test_a_client_that_vanished_is_passed_over(make, server, registered, waiter, now):
    async with make(lease=60) as here, make(lease=60) as there:
        server.command("ZADD", WAITERS, int(1000 * now) - 1000, waiter)
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
    monkeypatch.setattr(Fetching, "_withdraw", forget)  # as when its client is too busy to say so
    async with make(lease=60) as busy, make(lease=60) as idle, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await idle.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            scope, over = anyio.CancelScope(), anyio.Event()
            group.start_soon(_fetch_within, scope, busy, over)
            await registered(1)
            scope.cancel()
            await over.wait()  # what it is handed before that it would keep
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


async def test_a_message_handed_to_a_fetch_that_ended_was_not_delivered(
    make, registered, monkeypatch
):
    async with make(lease=60) as busy, make(lease=60) as publisher:
        async with anyio.create_task_group() as group:
            group.start_soon(busy.fetch, [QUEUE], 1, 60)
            await registered(1)
            monkeypatch.setattr(Fetching, "_withdraw", forget)
            group.cancel_scope.cancel()
        monkeypatch.undo()

        await publisher.publish([message("1")])
        with anyio.fail_after(60):
            (delivery,) = await publisher.fetch([QUEUE], 1, 60)

        assert (delivery.task_id, delivery.deliveries) == ("1", 1)


async def test_a_message_that_was_handed_over_long_ago_is_given_back(make, registered):
    async with make(lease=60) as waiting, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await waiting.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(1)
            fetching = waiting._client._fetching
            while fetching._asking or not any(waiting._client._waiting.registered()):
                await anyio.lowlevel.checkpoint()
            # as when the event loop was blocked for half a lease since
            waiting._client._fetching._server_ahead += 30_000
            calls = waiting.calls
            with anyio.fail_after(60):
                await publisher.publish([message("1")])

        assert fetched == ["1"]
        assert waiting.calls >= calls + 2


async def test_a_message_is_not_handed_to_who_should_have_looked_again(
    make, server, registered, now
):
    async with make(lease=60) as blocked, make(lease=60) as idle, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await idle.fetch([QUEUE], 1, 60)))

        async with anyio.create_task_group() as group:
            group.start_soon(blocked.fetch, [QUEUE], 1, 60)
            await registered(1)
            (waiter,) = server.command("ZRANGE", WAITERS, 0, -1)
            server.command("ZADD", WAITERS, int(1000 * now) - 50_000, waiter)
            group.start_soon(fetch)
            await registered(2)
            with anyio.fail_after(60):
                await publisher.publish([message("1")])
                while not fetched:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

        assert fetched == ["1"]


async def test_what_another_fetch_is_about_to_get_is_not_given_back(make):
    async with make() as transport:
        await transport.publish([message("1")])

        answers = await transport._bridge.run(_settle_what_came_late, transport._client)

        assert answers == [Settled.SETTLED]


async def test_who_may_be_registered_is_struck_off_before_leases_are_reclaimed(make):
    async with make(lease=60) as transport:
        with anyio.fail_after(60):
            answers = await transport._bridge.run(_lose_the_answer_of_a_look, transport._client)

        assert answers == [Settled.SETTLED]


async def test_a_message_whose_hand_over_was_lost_comes_all_the_same(
    make, server, registered, monkeypatch
):
    async with make(lease=60) as waiting, make(lease=60) as publisher:
        fetched: list[str] = []

        async def fetch() -> None:
            (delivery,) = await waiting.fetch([QUEUE], 1, 60)
            fetched.append(delivery.task_id)
            assert delivery.deliveries == 1

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(1)
            waiting._client._fetching.handed = lambda _message: None
            with anyio.fail_after(60):
                await publisher.publish([message("1")])
                server.command("CLIENT", "KILL", "TYPE", "pubsub")

        assert fetched == ["1"]


async def test_a_large_message_is_not_pushed_but_fetched(make, registered):
    async with make(lease=60) as waiting, make(lease=60) as publisher:
        fetched: list[int] = []

        async def fetch() -> None:
            fetched.extend(len(d.body) for d in await waiting.fetch([QUEUE], 1, 60))

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(1)
            calls = waiting.calls
            with anyio.fail_after(60):
                await publisher.publish([message("1", body=b"x" * 20_000)])

        assert fetched == [20_000]
        assert waiting.calls == calls + 1


async def test_a_message_that_is_handed_over_keeps_its_unique_key(make, registered):
    async with make(lease=60) as waiting, make(lease=60) as publisher:
        async with anyio.create_task_group() as group:
            group.start_soon(_work, waiting)
            await registered(1)
            with anyio.fail_after(60):
                await publisher.publish([message("1", unique="key")])

        assert await publisher.publish([message("2", unique="key")]) == [Accepted()]


async def test_an_older_message_that_is_handed_over_is_told_to_be_unwanted(
    make, server, registered
):
    async with make(lease=60) as waiting, make(lease=60) as other:
        (held,) = await give(other, "1")
        assert await other.cancel([record("1", b"cancelled")]) == [Cancelled.REQUESTED]
        await other.set_paused(QUEUE, paused=True)
        fetched: list[Delivery] = []

        async def fetch() -> None:
            fetched.extend(await waiting.fetch([QUEUE], 1, 60))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(fetch)
                await registered(1)
                calls = waiting.calls
                await other.settle([retry(held)])  # wakes the fetch, which finds a paused queue
                while waiting.calls == calls:
                    await anyio.lowlevel.checkpoint()
                await registered(1)
                server.command("SREM", "{chicory}:p", QUEUE)  # and wakes nobody
                await other.publish([message("2")])

        assert [(one.task_id, one.cancel_requested) for one in fetched] == [("1", True)]


@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "by another queue"])
async def test_who_alone_knows_of_a_delayed_message_leaves_it_to_another(
    make, registered, is_cancelled
):
    async with make(lease=120) as leaver, make(lease=120) as stayer, make() as publisher:
        fetched: list[str] = []
        scope = anyio.CancelScope()

        async def leave() -> None:
            with scope:
                await leaver.fetch([QUEUE, "other"], 1, 60)

        async def stay() -> None:
            fetched.extend(ids(await stayer.fetch([QUEUE], 1, 60)))

        with anyio.fail_after(20):  # who stays looks again by himself after thirty
            async with anyio.create_task_group() as group:
                group.start_soon(leave)  # and is told, as who has waited longest
                await registered(1)
                group.start_soon(stay)
                await registered(2)
                calls = leaver.calls
                await publisher.publish([message("1", not_before=time.time() + 1)])
                while leaver.calls == calls:
                    await anyio.lowlevel.checkpoint()
                await registered(2)
                if is_cancelled:
                    scope.cancel()
                else:
                    await publisher.publish([message("2", queue="other")])

        assert fetched == ["1"]


async def test_who_waits_is_known_until_he_looks_again_however_long_leases_are(
    make, server, registered
):
    async with make(lease=3600) as transport, anyio.create_task_group() as group:
        group.start_soon(transport.fetch, [QUEUE], 1, 600)
        await registered(1)

        looks_again_after = 1000 * transport._client._fetching._look_every
        assert looks_again_after < server.command("PTTL", WAITERS) - 20_000
        group.cancel_scope.cancel()


async def forget(_fetching, _waiter) -> list[Delivery]:
    return []


async def _settle_what_came_late(client) -> list[Settled]:
    """On the loop of the client: one fetch's answer comes after what another one does."""
    attempt, executed, gate = client._server.attempt, asyncio.Event(), asyncio.Event()

    async def late(name, *args, **options):
        answer = await attempt(name, *args, **options)
        if name == "fetch":
            executed.set()
            await gate.wait()
        return answer

    client._server.attempt = late
    first = asyncio.create_task(client.fetch([QUEUE], 1, 0))
    await executed.wait()
    client._server.attempt = attempt
    client._fetching.deafened()
    assert await client.fetch([QUEUE], 1, 0) == []
    gate.set()
    return await client.settle([done(delivery) for delivery in await first])


async def _lose_the_answer_of_a_look(client) -> list[Settled]:
    """On the loop of the client: a message comes just before what it does not know is reclaimed."""
    await client._listener.ready()
    attempt, lost = client._server.attempt, []

    async def unlucky(name, *args, **options):
        if name == "reclaim":
            await client.publish([message("1")])
        answer = await attempt(name, *args, **options)
        if name == "fetch" and not lost:
            lost.append(answer)
            raise Lost(ConnectionError("the answer is lost"))
        return answer

    client._server.attempt = unlucky
    return await client.settle([done(one) for one in await client.fetch([QUEUE], 2, 60)])


async def _work(transport) -> None:
    deliveries = await transport.fetch([QUEUE], 1, 60)
    await transport.settle([done(delivery) for delivery in deliveries])


async def _fetch_within(scope, transport, over) -> None:
    with scope:
        await transport.fetch([QUEUE], 1, 60)
    over.set()
