"""A waiting call is cancelled for good; the worker of a running one is told."""

from __future__ import annotations

from msgspec.structs import replace

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    TICKS,
    Heard,
    await_so_many,
    await_some,
    count,
    done,
    give,
    interrupt,
    live,
    message,
    record,
    retry,
    take,
)
from chicory.transport import (
    Accepted,
    Cancelled,
    Counts,
    Lease,
    Release,
    Retry,
    Settled,
    Stage,
    Standing,
)


class CancelContract:
    """``cancel``."""

    async def test_a_waiting_or_delayed_message_is_removed(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        later = harness.now() + harness.moment
        await here.publish([message("1"), message("2", not_before=later), message("3")])

        answers = await there.cancel([record("1"), record("2")])

        assert list(answers) == [Cancelled.REMOVED] * 2
        await harness.advance(harness.moment)
        assert [delivery.task_id for delivery in await take(here)] == ["3"]

    async def test_the_record_is_stored_for_what_was_removed_only(self, harness: Harness) -> None:
        transport = await harness.connect()
        await give(transport, "leased")
        await transport.publish([message("waiting")])
        names = ["waiting", "leased", "unknown"]

        answers = await transport.cancel([record(name, b"cancelled") for name in names])

        assert list(answers) == [Cancelled.REMOVED, Cancelled.REQUESTED, Cancelled.ABSENT]
        standings = await transport.look_up(names)
        assert [standing.record for standing in standings] == [b"cancelled", None, None]
        assert standings[0].stage is Stage.RECORDED

    async def test_a_record_without_a_body_leaves_none(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1"), message("2")])
        await transport.store([record("2", b"of an earlier attempt")])

        answers = await transport.cancel([record("1", None), record("2", None)])

        assert list(answers) == [Cancelled.REMOVED] * 2
        assert list(await transport.look_up(["1", "2"])) == [Standing(Stage.WAITING)] * 2

    async def test_what_waits_for_its_retry_is_removed(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        again = retry(delivery, harness.now() + LATER)
        await transport.settle([replace(again, record=record("1", b"to be retried"))])

        assert list(await transport.cancel([record("1", b"cancelled")])) == [Cancelled.REMOVED]

        assert await count(transport) == Counts()
        assert (await transport.look_up(["1"]))[0].record == b"cancelled"

    async def test_watchers_hear_of_it(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.publish([message("1")])
        await here.watch(["1"], heard)

        await there.cancel([record("1", b"cancelled")])

        await heard.until_hearing("1", b"cancelled")

    async def test_the_worker_of_a_leased_message_is_told_when_it_renews(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        one, two = await give(here, "1", "2")

        assert list(await there.cancel([record("1")])) == [Cancelled.REQUESTED]

        for _ in range(2):
            answers = await here.renew([one.receipt, two.receipt])
            assert list(answers) == [Lease.CANCEL_REQUESTED, Lease.HELD]

    async def test_a_leased_message_stays_with_its_worker(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")

        await transport.cancel([record("1")])

        assert await count(transport) == Counts(leased=1)
        assert list(await transport.settle([done(delivery, b"result")])) == [Settled.SETTLED]
        assert (await transport.look_up(["1"]))[0].record == b"result"

    async def test_a_renewal_that_tells_of_it_extends_the_lease(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        (delivery,) = await give(here, "1")
        await there.cancel([record("1")])

        for _ in range(2):
            await harness.advance(harness.lease * 0.6)
            await here.renew([delivery.receipt])

        assert await take(there) == []

    async def test_the_next_worker_is_told_where_the_first_one_vanished(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await give(transport, "1")
        await transport.cancel([record("1")])

        await harness.advance(harness.lease)
        (second,) = await await_some(harness, transport)

        assert second.cancel_requested
        assert list(await transport.renew([second.receipt])) == [Lease.CANCEL_REQUESTED]

    async def test_a_retry_that_nobody_wants_does_not_wait(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique="key")])
        (first,) = await take(transport)
        await transport.cancel([record("1")])

        await transport.settle([retry(first, harness.now() + LATER)])

        (second,) = await await_some(harness, transport)
        assert (second.body, second.cancel_requested) == (b"again", True)
        assert list(await transport.renew([second.receipt])) == [Lease.CANCEL_REQUESTED]
        await transport.settle([done(second)])
        assert list(await transport.publish([message("2", unique="key")])) == [Accepted()]

    async def test_a_retry_that_nobody_wants_is_no_more_wanted_by_its_second_worker(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (first,) = await give(here, "1")
        await there.cancel([record("1")])
        assert list(await here.renew([first.receipt])) == [Lease.CANCEL_REQUESTED]

        await here.settle([retry(first, harness.now() + LATER)])
        await await_some(harness, here)
        await harness.advance(harness.lease)

        (third,) = await await_some(harness, there)
        assert third.cancel_requested

    async def test_what_is_given_back_and_nobody_wants_does_not_wait(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        one, two = await give(here, "1", "2")
        await there.cancel([record("1"), record("2")])

        later = harness.now() + LATER
        await here.settle([Release(one.receipt, later), Release(two.receipt)])

        again = await await_so_many(harness, there, 2)
        assert {delivery.task_id: delivery.cancel_requested for delivery in again} == {
            "1": True,
            "2": True,
        }
        assert [delivery.deliveries for delivery in again] == [1, 1]

    async def test_what_was_not_cancelled_waits_for_its_retry(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two = await give(transport, "1", "2")
        await transport.cancel([record("2")])

        later = harness.now() + LATER
        await transport.settle([retry(one, later), retry(two, later)])

        assert [one.task_id for one in await await_some(harness, transport)] == ["2"]
        assert await count(transport) == Counts(delayed=1, leased=1)

    async def test_the_request_is_not_left_to_a_later_call_of_that_id(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (first,) = await give(transport, "1")
        await transport.cancel([record("1")])
        await transport.settle([done(first)])

        (second,) = await give(transport, "1")

        assert not second.cancel_requested
        assert list(await transport.renew([second.receipt])) == [Lease.HELD]

    async def test_what_is_settled_or_cancelled_is_absent(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "done")
        await transport.settle([done(delivery)])
        await transport.publish([message("twice")])
        await transport.cancel([record("twice")])

        answers = await transport.cancel([record("done"), record("twice")])

        assert list(answers) == [Cancelled.ABSENT] * 2

    async def test_a_stale_worker_cannot_settle_what_was_cancelled(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.settle([Release(delivery.receipt)])
        await transport.cancel([record("1", b"cancelled")])

        assert list(await transport.renew([delivery.receipt])) == [Lease.LOST]
        assert list(await transport.settle([done(delivery, b"late")])) == [Settled.FENCED]
        assert (await transport.look_up(["1"]))[0].record == b"cancelled"

    async def test_an_interrupted_cancel_is_whole_or_not_begun(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            name = f"interrupted {number}"
            await here.publish([message(name)])

            returned = await interrupt(lambda name=name: here.cancel([record(name)]), ticks)

            recorded = (await there.look_up([name]))[0].record is not None
            assert live(await count(there)) == (0 if recorded else 1)
            assert recorded or not returned
            await there.purge(QUEUE)

    async def test_what_its_second_worker_gives_back_and_nobody_wants_does_not_wait_either(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        (first,) = await give(here, "1")
        await there.cancel([record("1")])
        await here.settle([Release(first.receipt)])
        (second,) = await await_some(harness, there)

        await there.settle([Release(second.receipt, harness.now() + LATER)])

        (third,) = await await_some(harness, here)
        assert third.cancel_requested

    async def test_one_that_is_absent_stops_none_of_the_others(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1")])

        answers = await transport.cancel([record("none"), record("1"), record("1")])

        assert list(answers) == [Cancelled.ABSENT, Cancelled.REMOVED, Cancelled.ABSENT]

    async def test_a_duplicate_does_not_take_the_request_back(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.cancel([record("1")])

        await transport.publish([message("1")])

        assert list(await transport.renew([delivery.receipt])) == [Lease.CANCEL_REQUESTED]

    async def test_a_retry_that_nobody_wants_has_its_record_and_follow_ups(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.cancel([record("1")])
        again = message("1", not_before=harness.now() + LATER)

        await transport.settle(
            [Retry(delivery.receipt, again, record("1", b"retry"), (message("2", queue="next"),))]
        )

        assert (await transport.look_up(["1"]))[0].record == b"retry"
        assert live(await count(transport, "next")) == 1
