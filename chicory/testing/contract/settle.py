"""One outcome wins, and it wins as a whole."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    TICKS,
    await_some,
    body_of,
    count,
    done,
    give,
    interrupt,
    letter,
    live,
    message,
    observe,
    record,
    retry,
    take,
    take_one,
)
from chicory.transport import (
    Counts,
    Dead,
    Delivery,
    Done,
    Release,
    Retry,
    Settled,
    Stage,
    Transport,
)


class SettleContract:
    """``settle``."""

    async def test_what_is_done_is_gone(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")

        assert list(await here.settle([done(delivery)])) == [Settled.SETTLED]

        await harness.advance(harness.lease * 2)
        assert live(await count(there)) == 0
        assert await take(there) == []

    async def test_a_settlement_that_is_sent_again_is_fenced_out(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        settlement = done(delivery, b"result", [message("next")])
        await transport.settle([settlement])
        await take(transport)

        assert list(await transport.settle([settlement])) == [Settled.FENCED]
        assert live(await count(transport)) == 1

    async def test_a_retry_that_is_sent_again_is_fenced_out(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        settlement = Retry(delivery.receipt, message("1"), record("1"), (message("next"),))
        await transport.settle([settlement])

        assert list(await transport.settle([settlement])) == [Settled.FENCED]
        again, following = await take(transport)
        assert list(await transport.settle([settlement])) == [Settled.FENCED]

        assert list(await transport.settle([done(again), done(following)])) == [Settled.SETTLED] * 2
        assert await count(transport) == Counts()

    async def test_of_two_settlements_in_one_batch_the_first_wins(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")

        answers = await transport.settle([done(delivery, b"first"), done(delivery, b"second")])

        assert list(answers) == [Settled.SETTLED, Settled.FENCED]
        assert (await transport.look_up(["1"]))[0].record == b"first"

    async def test_after_a_lost_lease_every_outcome_is_fenced_out_whole(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        for outcome in (Done, Retry, Dead, Release):
            (stale,) = await give(here, outcome.__name__)
            await harness.advance(harness.lease)
            (fresh,) = await await_some(harness, there)
            late = Release(stale.receipt) if outcome is Release else _full(outcome, stale)

            assert list(await here.settle([late])) == [Settled.FENCED]

            assert await count(there) == Counts(leased=1)
            assert await count(there, f"after {QUEUE}") == Counts()
            assert (await there.look_up([fresh.task_id]))[0].record is None
            assert list(await there.settle([done(fresh)])) == [Settled.SETTLED]

    async def test_a_fenced_settlement_leaves_the_new_lease_alone(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (stale,) = await give(here, "1")
        await harness.advance(harness.lease)
        (fresh,) = await await_some(harness, there)

        await here.settle([retry(stale), Release(stale.receipt)])

        assert await take(here) == []
        assert list(await there.settle([done(fresh)])) == [Settled.SETTLED]

    async def test_a_fenced_settlement_stops_none_of_the_others(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two, three = await give(transport, "1", "2", "3")
        await transport.settle([done(two)])

        answers = await transport.settle([done(one, b"1"), done(two, b"2"), done(three, b"3")])

        assert list(answers) == [Settled.SETTLED, Settled.FENCED, Settled.SETTLED]
        standings = await transport.look_up(["1", "2", "3"])
        assert [standing.record for standing in standings] == [b"1", None, b"3"]

    async def test_a_call_published_again_is_safe_from_the_receipt_of_the_first(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (stale,) = await give(transport, "1")
        await transport.settle([done(stale)])
        (fresh,) = await give(transport, "1")

        assert list(await transport.settle([done(stale)])) == [Settled.FENCED]
        assert list(await transport.settle([done(fresh)])) == [Settled.SETTLED]

    async def test_a_released_message_is_there_at_once_and_was_not_delivered(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")

        for _ in range(3):
            assert list(await here.settle([Release(delivery.receipt)])) == [Settled.SETTLED]
            delivery = await take_one(there)
            assert delivery.deliveries == 1
            assert delivery.body == body_of("1")

    async def test_a_released_message_can_wait_for_a_time(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        due = harness.now() + harness.moment

        await transport.settle([Release(delivery.receipt, due)])

        assert await take(transport) == [] or harness.now() >= due
        await harness.advance(harness.moment)
        (again,) = await await_some(harness, transport)
        assert again.deliveries == 1

    async def test_a_record_is_read_no_sooner_than_all_else_is_done(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        async def look() -> None:
            standing = (await there.look_up([name]))[0]
            counted = await there.counts([queue, f"after {queue}"])
            if standing.record is not None:
                assert standing.stage is Stage.RECORDED
                assert counted[queue].leased == 0
                assert live(counted[f"after {queue}"]) == 1

        for number in range(20):
            name, queue = str(number), f"queue {number}"
            await here.publish([message(name, queue=queue)])
            (delivery,) = await take(here, queues=[queue])
            follow_up = message(f"after {name}", queue=f"after {queue}")
            settlement = done(delivery, b"result", [follow_up])
            await observe(lambda settlement=settlement: here.settle([settlement]), look)

    async def test_an_interrupted_settlement_is_whole_or_not_begun(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            for outcome in (Done, Dead, Retry):
                name = f"{outcome.__name__} {number}"
                await here.publish([message(name, queue=name, unique=name)])
                (delivery,) = await take(here, queues=[name])
                settlement = _full(outcome, delivery)

                returned = await interrupt(lambda s=settlement: here.settle([s]), ticks)

                whole = await _is_whole(harness, there, name, outcome)
                assert whole or not returned
                if not whole:
                    assert list(await there.settle([settlement])) == [Settled.SETTLED]
                    assert await _is_whole(harness, there, name, outcome)

    async def test_what_was_given_back_is_not_settled_again(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.settle([Release(delivery.receipt)])

        for again in (
            Release(delivery.receipt),
            done(delivery, b"late"),
            retry(delivery),
            Dead(delivery.receipt, letter(delivery)),
        ):
            assert list(await transport.settle([again])) == [Settled.FENCED]

        assert await count(transport) == Counts(ready=1)
        assert (await take_one(transport)).deliveries == 1


def _full(outcome: type[Done | Retry | Dead | Release], delivery: Delivery) -> Done | Retry | Dead:
    """A settlement with everything that one can have."""
    follow_up = message(f"after {delivery.task_id}", queue=f"after {delivery.queue}")
    stored, follow_ups = record(delivery.task_id), (follow_up,)
    if outcome is Retry:
        return Retry(delivery.receipt, retry(delivery).publication, stored, follow_ups)
    if outcome is Dead:
        return Dead(delivery.receipt, letter(delivery), stored, follow_ups)
    return Done(delivery.receipt, stored, follow_ups)


async def _is_whole(
    harness: Harness, transport: Transport, name: str, outcome: type[Done | Retry | Dead]
) -> bool:
    """Whether a full settlement was done; fails where it was half done."""
    before = (False, Counts(leased=1), 0)
    after = (True, Counts(ready=int(outcome is Retry), dead=int(outcome is Dead)), 1)
    seen = await _seen(transport, name)
    if seen not in (before, after):  # a replica may count late; what is half done stays so
        await harness.settle_down()
        seen = await _seen(transport, name)
    assert seen in (before, after)
    return seen == after


async def _seen(transport: Transport, name: str) -> tuple[bool, Counts, int]:
    """Whether it has a result, what its queue holds, and how many follow-ups there are."""
    (standing,) = await transport.look_up([name])
    follow_ups = live(await count(transport, f"after {name}"))
    return standing.record is not None, await count(transport, name), follow_ups
