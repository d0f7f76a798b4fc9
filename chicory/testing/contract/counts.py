"""Each message is counted once, where it is."""

from __future__ import annotations

from anyio.lowlevel import checkpoint

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    await_so_many,
    count,
    dead,
    done,
    give,
    ids,
    live,
    message,
    observe,
    take,
)
from chicory.transport import Counts, Lease, Priority, Release, Settled

_MANY = 1500
"""More than a transport would count one by one, and less than is long in coming."""


class CountsContract:
    """``counts`` and ``purge``."""

    async def test_each_message_is_counted_where_it_is(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        deliveries = await give(here, "dead", "leased", "leased too")
        await here.settle([dead(deliveries[0])])
        await here.publish([message(f"ready {number}") for number in range(3)])
        later = harness.now() + LATER
        await here.publish([message(f"delayed {number}", not_before=later) for number in range(4)])

        assert await count(there) == Counts(ready=3, delayed=4, leased=2, dead=1)

    async def test_what_became_due_or_orphaned_is_counted_once(self, harness: Harness) -> None:
        transport = await harness.connect()
        await give(transport, "orphan")
        await transport.publish([message("due", not_before=harness.now() + harness.moment)])

        await harness.advance(harness.lease)

        assert live(await count(transport)) == 2
        assert sorted(ids(await await_so_many(harness, transport, 2))) == ["due", "orphan"]
        assert await count(transport) == Counts(leased=2)

    async def test_queues_asked_for_by_name_are_all_in_the_answer(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1")])

        answer = await transport.counts([QUEUE, "empty"])

        assert dict(answer) == {QUEUE: Counts(ready=1), "empty": Counts()}

    async def test_a_long_queue_is_counted_before_anybody_has_fetched_from_it(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        later = harness.now() + LATER
        for level in (Priority.HIGH, Priority.LOW):
            await here.publish(
                [message(f"{level} {number}", priority=level) for number in range(_MANY)]
            )
        await here.publish([message("delayed", not_before=later)])

        assert await count(there) == Counts(ready=2 * _MANY, delayed=1)

        taken = await take(here, limit=5)

        assert await count(there) == Counts(ready=2 * _MANY - 5, delayed=1, leased=5)
        assert await there.purge(QUEUE) == 2 * _MANY - 5 + 1
        assert await count(there) == Counts(leased=len(taken))

    async def test_without_names_it_is_every_queue_that_holds_something_or_is_paused(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await transport.publish(
            [
                message("ready", queue="ready"),
                message("delayed", queue="delayed", not_before=harness.now() + LATER),
                message("leased", queue="leased"),
                message("dead", queue="dead"),
                message("done", queue="done"),
            ]
        )
        given_up, finished = [
            (await take(transport, queues=[queue]))[0] for queue in ("dead", "done")
        ]
        await transport.settle([dead(given_up), done(finished)])
        await take(transport, queues=["leased", "unknown"])
        await transport.set_paused("paused", paused=True)

        assert dict(await transport.counts()) == {
            "ready": Counts(ready=1),
            "delayed": Counts(delayed=1),
            "leased": Counts(leased=1),
            "dead": Counts(dead=1),
            "paused": Counts(paused=True),
        }

    async def test_nothing_is_counted_twice_or_missed_while_it_moves(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        names = [str(number) for number in range(5)]
        await here.publish([message(name) for name in names])

        async def look() -> None:
            counted = await count(there)
            assert live(counted) + counted.dead == len(names)

        async def move() -> None:
            for _ in range(10):
                deliveries = await take(here)
                await checkpoint()
                await here.settle([Release(delivery.receipt) for delivery in deliveries])
                await checkpoint()
            await here.settle([dead(delivery) for delivery in await take(here)])

        await observe(move, look)

    async def test_a_purge_deletes_and_counts_all_but_the_leased(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        one, two = await give(here, "leased 1", "leased 2")
        await here.settle([dead(two)])
        later = harness.now() + harness.moment
        await here.publish([message("ready"), message("delayed", not_before=later)])
        await here.publish([message("other", queue="other")])

        assert await there.purge(QUEUE) == 2

        assert await count(here) == Counts(leased=1, dead=1)
        assert (await count(here, "other")).ready == 1
        assert list(await here.renew([one.receipt])) == [Lease.HELD]
        assert list(await here.settle([done(one)])) == [Settled.SETTLED]

    async def test_what_was_purged_does_not_come_back(self, harness: Harness) -> None:
        transport = await harness.connect()
        later = harness.now() + harness.moment
        await transport.publish([message("ready"), message("delayed", not_before=later)])

        await transport.purge(QUEUE)
        await harness.advance(harness.lease)

        assert await take(transport) == []
        assert await transport.purge(QUEUE) == 0

    async def test_the_ids_of_what_was_purged_are_free(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1")])
        await transport.purge(QUEUE)

        assert ids(await give(transport, "1")) == ["1"]
