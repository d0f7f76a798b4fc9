"""A message that was accepted is stored, once."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    TICKS,
    await_so_many,
    body_of,
    count,
    done,
    give,
    ids,
    interrupt,
    live,
    message,
    retry,
    take,
    take_one,
)
from chicory.transport import (
    Accepted,
    Counts,
    Duplicate,
    Priority,
)


class PublishContract:
    """``publish``."""

    async def test_what_is_published_is_fetched_unchanged(self, harness: Harness) -> None:
        transport = await harness.connect()
        sent = message("1", body=bytes(range(256)), priority=Priority.HIGH)

        assert list(await transport.publish([sent])) == [Accepted()]

        delivery = await take_one(transport)
        assert (delivery.queue, delivery.task_id) == (QUEUE, "1")
        assert (delivery.body, delivery.priority) == (bytes(range(256)), Priority.HIGH)
        assert delivery.deliveries == 1

    async def test_a_body_may_be_empty_or_a_mebibyte(self, harness: Harness) -> None:
        transport = await harness.connect()
        big = bytes(range(256)) * 4096

        await transport.publish([message("empty", body=b""), message("big", body=big)])

        assert [delivery.body for delivery in await take(transport)] == [b"", big]

    async def test_another_connection_fetches_it(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        await here.publish([message("1")])

        assert ids(await take(there)) == ["1"]

    async def test_an_empty_batch_does_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()

        assert list(await transport.publish([])) == []
        assert list(await transport.settle([])) == []
        assert list(await transport.renew([])) == []
        assert await take(transport) == []

    async def test_a_large_batch_is_stored_in_order(self, harness: Harness) -> None:
        transport = await harness.connect()
        names = [str(number) for number in range(1000)]

        outcomes = await transport.publish([message(name) for name in names])

        assert list(outcomes) == [Accepted()] * 1000
        assert ids(await await_so_many(harness, transport, 1000)) == names

    async def test_a_batch_that_is_sent_again_doubles_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()
        batch = [message("1"), message("2")]

        await transport.publish(batch)
        outcomes = await transport.publish(batch)

        assert list(outcomes) == [Duplicate("1"), Duplicate("2")]
        assert ids(await take(transport)) == ["1", "2"]

    async def test_a_duplicate_stops_none_of_the_others(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("2")])

        outcomes = await transport.publish([message("1"), message("2"), message("3")])

        assert list(outcomes) == [Accepted(), Duplicate("2"), Accepted()]
        assert ids(await take(transport)) == ["2", "1", "3"]

    async def test_an_id_twice_in_one_batch_is_stored_once(self, harness: Harness) -> None:
        transport = await harness.connect()

        outcomes = await transport.publish([message("1"), message("1", queue="other")])

        assert list(outcomes) == [Accepted(), Duplicate("1")]
        assert live(await count(transport)) == 1
        assert live(await count(transport, "other")) == 0

    async def test_an_id_is_taken_while_its_message_is_delayed_or_leased(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await give(transport, "leased")
        await transport.publish([message("delayed", not_before=harness.now() + LATER)])

        outcomes = await transport.publish([message("leased"), message("delayed", queue="other")])

        assert list(outcomes) == [Duplicate("leased"), Duplicate("delayed")]
        assert live(await count(transport)) == 2
        assert live(await count(transport, "other")) == 0

    async def test_an_id_is_taken_after_a_retry_and_free_after_the_end(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.settle([retry(delivery)])

        assert list(await transport.publish([message("1")])) == [Duplicate("1")]

        await transport.settle([done(await take_one(transport))])
        assert list(await transport.publish([message("1")])) == [Accepted()]
        assert (await take_one(transport)).body == body_of("1")

    async def test_an_interrupted_publish_is_whole_or_not_begun(self, harness: Harness) -> None:
        transport, fresh = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            queue = f"interrupted {number}"
            batch = [
                message(f"{name} {queue}", queue=queue, unique=f"{name} {queue}") for name in "abc"
            ]
            returned = await interrupt(lambda batch=batch: transport.publish(batch), ticks)
            counted = live(await count(fresh, queue))

            outcomes = await fresh.publish(batch)
            stored = ids(await take(fresh, queues=[queue]))

            assert sorted(stored) == [one.task_id for one in batch]
            assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == counted
            assert counted == 3 or not returned

    async def test_a_duplicate_changes_nothing_of_the_message_that_is_there(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        due = harness.now() + LATER
        await transport.publish([message("0"), message("1"), message("delayed", not_before=due)])

        answers = await transport.publish(
            [
                message("1", queue="other", body=b"other", priority=Priority.HIGH),
                message("delayed", body=b"other"),
            ]
        )

        assert list(answers) == [Duplicate("1"), Duplicate("delayed")]
        assert await take(transport, queues=["other"]) == []
        found = [(one.task_id, one.body, one.priority) for one in await take(transport)]
        assert found == [(name, body_of(name), Priority.NORMAL) for name in ("0", "1")]
        assert await count(transport) == Counts(leased=2, delayed=1)
