"""What was promised is kept when the broker dies, or the transport says that it is not."""

from __future__ import annotations

import math

from anyio import create_task_group, fail_after

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    Heard,
    await_so_many,
    count,
    dead,
    done,
    give,
    ids,
    live,
    message,
    record,
    retry,
)
from chicory.transport import Abilities, Counts, Duplicate, Lease, Settled, Stage


class RestartContract:
    """Durability, as ``abilities`` has it."""

    async def test_the_abilities_agree_with_each_other(self, harness: Harness) -> None:
        abilities = (await harness.connect()).abilities

        assert isinstance(abilities, Abilities)
        assert abilities.cross_process or not abilities.shared
        assert abilities.cross_process or not abilities.durable

    async def test_messages_outlive_the_broker(self, harness: Harness) -> None:
        before = await harness.connect()
        soon, later = harness.now() + harness.moment, harness.now() + LATER
        await give(before, "leased")
        await before.publish([message("ready"), message("soon", not_before=soon)])
        await before.publish([message("delayed", not_before=later, unique="key")])

        await harness.restart()
        after = await harness.connect()

        if not before.abilities.durable:
            assert dict(await after.counts()) == {}
            return
        assert live(await count(after)) == 4
        outcomes = await after.publish([message("ready"), message("other", unique="key")])
        assert list(outcomes) == [Duplicate("ready"), Duplicate("delayed")]
        await harness.advance(harness.lease)
        fetched = ids(await await_so_many(harness, after, 3))
        assert sorted(fetched) == ["leased", "ready", "soon"]
        assert (await count(after)).delayed == 1

    async def test_settlements_outlive_the_broker(self, harness: Harness) -> None:
        before = await harness.connect()
        one, two, three = await give(before, "done", "retry", "dead")
        follow_ups = [message("next", queue="next")]
        await before.settle([done(one, b"result", follow_ups), retry(two), dead(three)])

        await harness.restart()
        after = await harness.connect()

        if not before.abilities.durable:
            assert dict(await after.counts()) == {}
            assert (await after.look_up(["done"]))[0].stage is Stage.WAITING
            return
        assert (await after.look_up(["done"]))[0].record == b"result"
        assert ids(await after.dead_letters()) == ["dead"]
        fetched = ids(await await_so_many(harness, after, 2, [QUEUE, "next"]))
        assert fetched == ["retry", "next"]

    async def test_leases_pauses_and_records_outlive_the_broker(self, harness: Harness) -> None:
        before = await harness.connect()
        (delivery,) = await give(before, "1")
        await before.store([record("2", b"stored")])
        await before.set_paused("paused", paused=True)

        await harness.restart()
        after = await harness.connect()

        if not before.abilities.durable:
            assert dict(await after.counts()) == {}
            assert list(await after.renew([delivery.receipt])) == [Lease.LOST]
            return
        assert list(await after.renew([delivery.receipt])) == [Lease.HELD]
        assert list(await after.settle([done(delivery)])) == [Settled.SETTLED]
        assert (await after.look_up(["2"]))[0].record == b"stored"
        assert dict(await after.counts()) == {"paused": Counts(paused=True)}

    async def test_the_broker_works_as_before(self, harness: Harness) -> None:
        await harness.connect()
        await harness.restart()
        transport = await harness.connect()

        (delivery,) = await give(transport, "1")

        assert list(await transport.settle([done(delivery)])) == [Settled.SETTLED]

    async def test_those_who_wait_are_served_by_the_broker_that_came_back(
        self, harness: Harness
    ) -> None:
        if not harness.reconnects:
            return
        here, there = await harness.connect(), await harness.connect()
        heard, fetched = Heard(harness), list[str]()
        await here.watch(["1"], heard)

        async def fetch() -> None:
            with fail_after(harness.patience):
                fetched.extend(ids(await here.fetch([QUEUE], 1, math.inf)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await harness.settle_down()
            await harness.restart()
            await (await harness.connect()).publish([message("1")])
        await there.store([record("1", b"result")])

        assert fetched == ["1"]
        await heard.until_hearing("1", b"result")
