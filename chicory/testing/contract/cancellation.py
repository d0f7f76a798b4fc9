"""Who is cancelled while fetching has taken nothing, or gives what he took."""

from __future__ import annotations

import math

from anyio import CancelScope, Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    TICKS,
    Heard,
    await_some,
    count,
    done,
    give,
    ids,
    interrupt,
    message,
    record,
    take,
    until_idle,
)
from chicory.transport import (
    Counts,
    Delivery,
    Lease,
    Transport,
)


class CancellationContract:
    """Cancellation of the verbs that wait, and of those that change leases."""

    async def test_a_cancelled_fetch_keeps_nothing(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            queue = f"interrupted {number}"
            await there.publish([message(f"{n} {queue}", queue=queue) for n in range(5)])
            answered: list[str] = []

            async def fetch(queue: str = queue, answered: list[str] = answered) -> None:
                answered.extend(ids(await here.fetch([queue], 3, math.inf)))

            await interrupt(fetch, ticks)

            assert len(answered) <= 3
            assert await count(there, queue) == Counts(
                ready=5 - len(answered), leased=len(answered)
            )

    async def test_a_cancelled_wait_keeps_nothing(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            await interrupt(lambda: here.fetch([QUEUE], 1, math.inf), ticks)
            await there.publish([message(str(number))])
            await until_idle()
            assert await count(there) == Counts(ready=1)
            assert await _take_all(there) == [str(number)]

        await there.publish([message("last")])
        await harness.settle_down()
        assert ids(await take(there)) == ["last"]

    async def test_fetches_cancelled_while_messages_come_leak_none(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            fetched: list[str] = []
            async with create_task_group() as group:
                scope = CancelScope()
                group.start_soon(_fetch_within, here, scope, fetched)
                await until_idle()
                await there.publish([message(str(number))])
                for _ in range(ticks):
                    await checkpoint()
                scope.cancel()

            assert fetched or await _take_all(there) == [str(number)]
            assert await count(there) == Counts()

    async def test_a_message_that_a_cancelled_fetch_left_wakes_the_next_one(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            fetched: list[str] = []
            async with create_task_group() as group:
                scope = CancelScope()
                group.start_soon(_fetch_within, here, scope, fetched)
                await until_idle()
                group.start_soon(there.publish, [message(str(number))])
                for _ in range(ticks):
                    await checkpoint()
                scope.cancel()
            if not fetched:
                (delivery,) = await await_some(harness, here, 1)
                await here.settle([done(delivery)])
                fetched.append(delivery.task_id)

            assert fetched == [str(number)]

    async def test_an_interrupted_renewal_does_not_shorten_a_lease(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")

        for ticks in TICKS:
            await interrupt(lambda: here.renew([delivery.receipt]), ticks)
            assert await take(there) == []
            assert list(await here.renew([delivery.receipt])) == [Lease.HELD]

    async def test_an_interrupted_watch_can_be_made_again(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            heard = Heard(harness)
            name = f"interrupted {number}"
            await interrupt(lambda name=name, heard=heard: here.watch([name], heard), ticks)
            await here.watch([name], heard)
            await there.store([record(name, b"result")])
            await heard.until_hearing(name, b"result")

    async def test_a_cancelled_fetch_counts_no_delivery_and_changes_no_order(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            queue = f"interrupted {number}"
            names = [f"{n} {queue}" for n in range(5)]
            await there.publish([message(name, queue=queue) for name in names])
            answered: list[Delivery] = []

            async def fetch(queue: str = queue, answered: list[Delivery] = answered) -> None:
                answered.extend(await here.fetch([queue], 3, math.inf))

            await interrupt(fetch, ticks)

            found = [*answered, *await take(there, queues=[queue])]
            assert ids(found) == names
            assert [delivery.deliveries for delivery in found] == [1] * 5

    async def test_what_a_cancelled_fetch_leaves_wakes_another_that_waits(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            fetched: list[str] = []
            found = Event()

            async def fetch(
                transport: Transport,
                scope: CancelScope,
                fetched: list[str] = fetched,
                found: Event = found,
            ) -> None:
                await _fetch_within(transport, scope, fetched)
                if fetched:
                    found.set()

            with fail_after(harness.patience):
                async with create_task_group() as group:
                    first, second = CancelScope(), CancelScope()
                    for transport, scope in ((here, first), (there, second)):
                        group.start_soon(fetch, transport, scope)
                        await until_idle()
                    group.start_soon(there.publish, [message(str(number))])
                    for _ in range(ticks):
                        await checkpoint()
                    first.cancel()
                    await found.wait()
                    second.cancel()

            assert fetched == [str(number)]


async def _fetch_within(transport: Transport, scope: CancelScope, fetched: list[str]) -> None:
    with scope:
        deliveries = await transport.fetch([QUEUE], 1, math.inf)
        fetched.extend(ids(deliveries))
        with CancelScope(shield=True):
            await transport.settle([done(delivery) for delivery in deliveries])


async def _take_all(transport: Transport) -> list[str]:
    deliveries = await take(transport)
    await transport.settle([done(delivery) for delivery in deliveries])
    return ids(deliveries)
