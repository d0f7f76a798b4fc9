"""A paused queue takes messages and gives none."""

from __future__ import annotations

import math

from anyio import create_task_group, fail_after

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    await_so_many,
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    message,
    retry,
    take,
    until_idle,
)
from chicory.transport import (
    Counts,
    Lease,
    Release,
    Settled,
)


class PauseContract:
    """``set_paused``."""

    async def test_nothing_is_fetched_from_a_paused_queue(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await here.publish([message("1")])

        await here.set_paused(QUEUE, paused=True)
        await here.publish([message("2")])

        assert await take(here) == await take(there) == []
        assert await count(there) == Counts(ready=2, paused=True)

    async def test_other_queues_are_served(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.set_paused(QUEUE, paused=True)

        await transport.publish([message("1"), message("2", queue="other")])

        assert ids(await take(transport, queues=[QUEUE, "other"])) == ["2"]

    async def test_once_resumed_it_is_served_in_order(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.set_paused(QUEUE, paused=True)
        await transport.publish([message("1"), message("2")])

        await transport.set_paused(QUEUE, paused=False)

        assert ids(await take(transport)) == ["1", "2"]
        assert await count(transport) == Counts(leased=2)

    async def test_a_waiting_fetch_is_not_answered_while_paused_and_is_by_the_resume(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        await there.set_paused(QUEUE, paused=True)

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, here)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await there.publish([message("1")])
            await until_idle()
            await there.counts()
            assert answers == []
            await there.set_paused(QUEUE, paused=False)

        assert answers == ["1"]

    async def test_a_fetch_that_began_before_the_pause_gets_nothing_either(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []

        async def fetch() -> None:
            answers.extend(ids(await here.fetch([QUEUE, "other"], 1, math.inf)))

        with fail_after(harness.patience):
            async with create_task_group() as group:
                group.start_soon(fetch)
                await until_idle()
                await there.set_paused(QUEUE, paused=True)
                await there.publish([message("1")])
                await there.publish([message("2", queue="other")])

        assert answers == ["2"]
        assert await count(there) == Counts(ready=1, paused=True)

    async def test_leased_messages_go_on(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two = await give(transport, "1", "2")
        await transport.set_paused(QUEUE, paused=True)

        assert list(await transport.renew([one.receipt])) == [Lease.HELD]
        assert list(await transport.settle([done(one), done(two)])) == [Settled.SETTLED] * 2

    async def test_orphans_and_due_messages_stay_until_it_is_resumed(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await give(transport, "orphan")
        await transport.publish([message("due", not_before=harness.now() + harness.moment)])
        await transport.set_paused(QUEUE, paused=True)

        await harness.advance(harness.lease)
        assert await take(transport) == []
        await transport.set_paused(QUEUE, paused=False)

        fetched = await await_so_many(harness, transport, 2)
        assert sorted(ids(fetched)) == ["due", "orphan"]

    async def test_pausing_twice_is_pausing_once(self, harness: Harness) -> None:
        transport = await harness.connect()
        for paused in (True, True, False):
            await transport.set_paused(QUEUE, paused)

        assert (await count(transport)).paused is False
        assert ids(await give(transport, "1")) == ["1"]

    async def test_what_comes_back_stays_until_it_is_resumed(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        one, two, three, four = await give(here, "1", "2", "3", "4")
        answers: list[str] = []

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await here.set_paused(QUEUE, paused=True)
            await here.settle([retry(one), Release(two.receipt)])
            await here.settle([dead(three, "letter"), done(four, follow_ups=[message("5")])])
            await here.replay([("letter", message("3"))])
            assert await take(here) == []
            await harness.settle_down()
            assert answers == []
            assert await count(here) == Counts(ready=4, paused=True)
            await here.set_paused(QUEUE, paused=False)

        assert answers

    async def test_a_queue_that_was_emptied_stays_paused(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.set_paused(QUEUE, paused=True)

        await transport.settle([done(delivery)])
        await transport.publish([message("2")])
        await transport.purge(QUEUE)
        await transport.publish([message("3")])

        assert await take(transport) == []
        assert await count(transport) == Counts(ready=1, paused=True)
