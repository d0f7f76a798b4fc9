"""Queues in the order asked for, then priorities, then first in, first out."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    await_so_many,
    give,
    ids,
    message,
    retry,
    take,
)
from chicory.transport import (
    Priority,
    Release,
)


class OrderContract:
    """The order of ``fetch``."""

    async def test_a_higher_priority_goes_first_however_late_it_came(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        levels = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.LOW, Priority.HIGH]

        for number, level in enumerate(levels):
            await transport.publish([message(str(number), priority=level)])

        assert ids(await take(transport)) == ["2", "4", "1", "0", "3"]

    async def test_a_higher_priority_goes_first_one_fetch_at_a_time(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(f"low {n}", priority=Priority.LOW) for n in range(3)])
        await transport.publish([message(f"high {n}", priority=Priority.HIGH) for n in range(2)])

        order = [ids(await take(transport, limit=1)) for _ in range(3)]
        await transport.publish([message("normal")])
        order += [ids(await take(transport, limit=1)) for _ in range(3)]

        assert order == [["high 0"], ["high 1"], ["low 0"], ["normal"], ["low 1"], ["low 2"]]

    async def test_queues_are_served_in_the_order_asked_for(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("low on a", queue="a", priority=Priority.LOW)])
        await transport.publish([message("high on b", queue="b", priority=Priority.HIGH)])
        await transport.publish([message("low on b", queue="b", priority=Priority.LOW)])

        first = await take(transport, 2, ["b", "a"])
        assert ids(first) == ["high on b", "low on b"]
        await transport.settle([Release(delivery.receipt) for delivery in first])

        assert ids(await take(transport, 2, ["a", "b"])) == ["low on a", "high on b"]

    async def test_an_orphan_keeps_its_place(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(str(number)) for number in range(4)])
        await take(transport, 2)

        await harness.advance(harness.lease)

        assert sorted(ids(await await_so_many(harness, transport, 2))) == ["0", "1"]
        assert ids(await take(transport)) == ["2", "3"]

    async def test_what_was_released_keeps_its_place(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(str(number)) for number in range(4)])
        first, second = await take(transport, 2)

        await transport.settle([Release(second.receipt), Release(first.receipt)])

        assert ids(await take(transport)) == ["0", "1", "2", "3"]

    async def test_a_retry_goes_to_the_end(self, harness: Harness) -> None:
        transport = await harness.connect()
        deliveries = await give(transport, "1")
        await transport.publish([message("2"), message("low", priority=Priority.LOW)])

        await transport.settle([retry(deliveries[0])])

        assert ids(await take(transport, queues=[QUEUE])) == ["2", "1", "low"]

    async def test_an_orphan_keeps_its_priority(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("low", priority=Priority.LOW)])
        await take(transport)
        await transport.publish([message("high", priority=Priority.HIGH)])
        await take(transport)
        await transport.publish([message("normal")])

        await harness.advance(harness.lease * 1.01)

        found = [one for _ in range(3) for one in await await_so_many(harness, transport, 1)]
        assert ids(found) == ["high", "normal", "low"]
        assert [one.priority for one in found] == sorted(Priority, reverse=True)

    async def test_what_was_released_for_a_time_keeps_its_priority(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish(
            [message("low", priority=Priority.LOW), message("high", priority=Priority.HIGH)]
        )
        due = harness.now() + harness.moment
        await transport.settle([Release(one.receipt, due) for one in await take(transport)])
        await transport.publish([message("normal")])

        await harness.advance(harness.moment * 1.01)

        found = [one for _ in range(3) for one in await await_so_many(harness, transport, 1)]
        assert ids(found) == ["high", "normal", "low"]
        assert [one.priority for one in found] == sorted(Priority, reverse=True)
