"""What follows a call is published with its settlement, once, or not at all."""

from __future__ import annotations

from anyio import create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    letter,
    live,
    message,
    retry,
    take,
    until_idle,
)
from chicory.transport import Dead, Priority, Retry, Settled


class FollowUpsContract:
    """``follow_ups`` of a settlement."""

    async def test_they_are_published_whatever_the_outcome(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two, three = await give(transport, "1", "2", "3")
        after = [(message(f"after {number}", queue="next"),) for number in (1, 2, 3)]

        await transport.settle(
            [
                done(one, follow_ups=after[0]),
                Retry(two.receipt, retry(two).publication, follow_ups=after[1]),
                Dead(three.receipt, letter(three), follow_ups=after[2]),
            ]
        )

        assert ids(await take(transport, queues=["next"])) == ["after 1", "after 2", "after 3"]

    async def test_they_keep_priority_delay_and_key(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        due = harness.now() + LATER
        follow_ups = [
            message("low", priority=Priority.LOW),
            message("high", priority=Priority.HIGH, unique="key"),
            message("delayed", not_before=due),
        ]

        await transport.settle([done(delivery, follow_ups=follow_ups)])

        assert ids(await take(transport)) == ["high", "low"]
        assert (await count(transport)).delayed == 1
        await transport.publish([message("duplicate", unique="key")])
        assert await take(transport) == []

    async def test_none_is_published_by_a_settlement_that_is_fenced_out(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (stale,) = await give(here, "1")
        await harness.advance(harness.lease)
        (fresh,) = await await_some(harness, there)
        follow_ups = [message("next", queue="next", unique="key")]

        assert list(await here.settle([done(stale, b"late", follow_ups)])) == [Settled.FENCED]
        assert live(await count(here, "next")) == 0

        assert list(await there.settle([done(fresh, b"", follow_ups)])) == [Settled.SETTLED]
        assert live(await count(here, "next")) == 1

    async def test_one_that_is_live_already_is_left_as_it_is(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.publish([message("live")])
        follow_ups = [message("live", queue="next"), message("new")]

        assert list(await transport.settle([done(delivery, b"", follow_ups)])) == [Settled.SETTLED]

        assert ids(await take(transport, queues=["next", QUEUE])) == ["live", "new"]

    async def test_one_may_be_the_same_call_again(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique="key")])
        (delivery,) = await take(transport)

        await transport.settle([done(delivery, follow_ups=[message("1", unique="key")])])

        (again,) = await take(transport)
        assert (again.task_id, again.deliveries) == ("1", 1)

    async def test_a_waiting_fetch_is_woken_by_them(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        (delivery,) = await give(here, "1")

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await here.settle([done(delivery, follow_ups=[message("2")])])

        assert answers == ["2"]

    async def test_a_waiting_fetch_is_woken_by_a_retry(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        (delivery,) = await give(here, "1")

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await here.settle([retry(delivery)])

        assert answers == ["1"]

    async def test_a_dead_letter_alone_publishes_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")

        await transport.settle([dead(delivery)])

        assert live(await count(transport)) == 0
