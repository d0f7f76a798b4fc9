"""A retry replaces the message; at no moment is there neither."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    TICKS,
    await_some,
    count,
    give,
    interrupt,
    live,
    message,
    observe,
    record,
    retry,
    take,
    take_one,
)
from chicory.transport import Counts, Priority, Publication, Retry, Settled, Transport


class RetryContract:
    """``settle`` with ``Retry``."""

    async def test_the_new_message_comes_in_place_of_the_old_one(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        again = Publication("other", "1", b"second", Priority.HIGH)

        answers = await transport.settle([Retry(delivery.receipt, again)])

        assert list(answers) == [Settled.SETTLED]
        assert await count(transport) == Counts()
        (second,) = await take(transport, queues=["other"])
        assert (second.task_id, second.body, second.priority) == ("1", b"second", Priority.HIGH)

    async def test_its_deliveries_begin_at_one_again(self, harness: Harness) -> None:
        transport = await harness.connect()
        await give(transport, "1")
        await harness.advance(harness.lease)
        (second,) = await await_some(harness, transport)
        assert second.deliveries == 2

        await transport.settle([retry(second)])

        assert (await take_one(transport)).deliveries == 1

    async def test_a_delayed_retry_is_fetched_at_its_time(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        due = harness.now() + harness.moment

        await transport.settle([retry(delivery, due)])

        assert await take(transport) == [] or harness.now() >= due
        await harness.advance(harness.moment)
        (again,) = await await_some(harness, transport)
        assert (again.task_id, again.body) == ("1", b"again")

    async def test_an_interim_record_is_stored_with_it(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        settlement = Retry(delivery.receipt, message("1"), record("1", b"interim"))

        await transport.settle([settlement])

        assert (await transport.look_up(["1"]))[0].record == b"interim"
        assert live(await count(transport)) == 1

    async def test_the_message_is_there_at_every_moment(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, delay in enumerate([0.0, LATER] * 10):
            queue = str(number)
            await here.publish([message(queue, queue=queue)])
            (delivery,) = await take(here, queues=[queue])
            settlement = retry(delivery, delay and harness.now() + delay)
            await observe(
                lambda settlement=settlement: here.settle([settlement]),
                lambda queue=queue: _assert_one(there, queue),
            )

    async def test_an_interrupted_retry_leaves_one_message(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            queue = f"interrupted {number}"
            await here.publish([message(queue, queue=queue)])
            (delivery,) = await take(here, queues=[queue])
            settlement = retry(delivery)

            returned = await interrupt(lambda s=settlement: here.settle([s]), ticks)

            counted = await count(there, queue)
            assert counted == Counts(ready=1) or (counted == Counts(leased=1) and not returned)


async def _assert_one(transport: Transport, queue: str) -> None:
    assert live(await count(transport, queue)) == 1
