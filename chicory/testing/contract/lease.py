"""A lease lasts as long as it is renewed, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from anyio import fail_after
from anyio.to_thread import run_sync

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    live,
    message,
    retry,
    take,
    take_one,
)
from chicory.transport import (
    Lease,
    Release,
    Settled,
    Transport,
)


class LeaseContract:
    """``renew``."""

    async def test_a_renewed_lease_outlives_its_first_end(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")

        for _ in range(4):
            await harness.advance(harness.lease * 0.6)
            assert list(await here.renew([delivery.receipt])) == [Lease.HELD]
            assert await take(there) == []

        assert list(await here.settle([done(delivery)])) == [Settled.SETTLED]

    async def test_renewing_one_lease_extends_no_other(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        one, _ = await give(here, "1", "2")

        await harness.advance(harness.lease * 0.6)
        await here.renew([one.receipt])
        await harness.advance(harness.lease * 0.6)
        found, end = list[str](), 0.0
        with fail_after(harness.patience):
            while not found:  # however late the broker is to offer the other one again
                end = harness.now() + harness.lease
                await here.renew([one.receipt])
                found = ids(await take(there))

        assert found == ["2"] or harness.now() >= end
        assert list(await here.renew([one.receipt])) == [Lease.HELD] or "1" in found

    async def test_it_is_lost_to_whoever_fetched_the_message_since(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (stale,) = await give(here, "1")
        await harness.advance(harness.lease)
        (fresh,) = await await_some(harness, there)

        assert list(await here.renew([stale.receipt])) == [Lease.LOST]
        assert list(await there.renew([fresh.receipt])) == [Lease.HELD]

    async def test_it_is_lost_also_where_the_same_connection_fetched_it_since(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (stale,) = await give(transport, "1")
        await harness.advance(harness.lease)
        (fresh,) = await await_some(harness, transport)

        answers = await transport.renew([stale.receipt, fresh.receipt])

        assert list(answers) == [Lease.LOST, Lease.HELD]

    async def test_it_is_held_again_where_nobody_took_the_message_since(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")
        await harness.advance(harness.lease * 1.5)
        assert live(await count(there)) == 1

        assert list(await here.renew([delivery.receipt])) == [Lease.HELD]

        assert await take(there) == []
        assert list(await here.settle([done(delivery)])) == [Settled.SETTLED]
        assert await take(there) == []

    async def test_it_is_held_again_where_another_message_was_taken(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        deliveries = await give(here, "1", "2", "3")
        await harness.advance(harness.lease * 1.5)

        (taken,) = await await_some(harness, there, 1)

        lost = [delivery.task_id == taken.task_id for delivery in deliveries]
        answers = await here.renew([delivery.receipt for delivery in deliveries])
        assert list(answers) == [Lease.LOST if was else Lease.HELD for was in lost]
        assert await take(there) == []

    async def test_it_is_lost_once_the_message_was_settled(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two, three, four = await give(transport, "1", "2", "3", "4")

        await transport.settle([done(one), retry(two), dead(three), Release(four.receipt)])

        receipts = [delivery.receipt for delivery in (one, two, three, four)]
        assert list(await transport.renew(receipts)) == [Lease.LOST] * 4

    async def test_answers_come_in_the_order_of_the_receipts(self, harness: Harness) -> None:
        transport = await harness.connect()
        deliveries = await give(transport, *map(str, range(6)))
        await transport.settle([done(delivery) for delivery in deliveries[::2]])

        answers = await transport.renew([delivery.receipt for delivery in deliveries])

        assert list(answers) == [Lease.LOST, Lease.HELD] * 3

    async def test_a_receipt_is_good_on_every_connection_of_the_process(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")

        assert list(await there.renew([delivery.receipt])) == [Lease.HELD]
        assert list(await there.settle([done(delivery)])) == [Settled.SETTLED]
        assert list(await here.renew([delivery.receipt])) == [Lease.LOST]

    async def test_a_clone_on_the_loop_of_a_thread_renews(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")
        await harness.advance(harness.lease * 0.6)

        end = harness.now() + harness.lease
        with fail_after(harness.patience):
            answers = await run_sync(lambda: asyncio.run(_renew(here.clone(), delivery.receipt)))

        await harness.advance(harness.lease * 0.6)
        assert list(answers) == [Lease.HELD]
        assert await take(there) == [] or harness.now() >= end

    async def test_a_purged_or_republished_message_is_not_the_one_leased(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (stale,) = await give(transport, "1")
        await transport.settle([Release(stale.receipt)])
        await transport.purge(stale.queue)
        await transport.publish([message("1")])

        fresh = await take_one(transport)

        assert list(await transport.renew([stale.receipt])) == [Lease.LOST]
        assert list(await transport.settle([done(stale)])) == [Settled.FENCED]
        assert list(await transport.settle([done(fresh)])) == [Settled.SETTLED]

    async def test_a_renewal_is_no_delivery(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        for _ in range(3):
            await transport.renew([delivery.receipt])

        await harness.advance(harness.lease)

        (again,) = await await_some(harness, transport)
        assert again.deliveries == 2

    async def test_renewals_do_not_add_up(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")
        for _ in range(5):
            await here.renew([delivery.receipt])

        await harness.advance(harness.lease * 1.01)

        assert ids(await take(there)) == ["1"]


async def _renew(clone: Transport, receipt: object) -> Sequence[Lease]:
    async with clone:
        return await clone.renew([receipt])
