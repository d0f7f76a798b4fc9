"""A unique key belongs to one live message, until that is settled for good."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    live,
    message,
    record,
    retry,
    take,
    take_one,
)
from chicory.transport import (
    Accepted,
    Duplicate,
    Publication,
    PublishOutcome,
    Release,
    Retry,
    Transport,
    Unique,
)

_KEY = "key"
_DECADES = 2e9
_SECONDS = 1.0
"""Brokers may count in whole seconds."""


class UniqueContract:
    """``Publication.unique``."""

    async def test_a_key_that_is_held_makes_a_duplicate(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await here.publish([message("1", unique=_KEY)])

        assert await _try(there, "2") == Duplicate("1")
        assert await _try(there, "3", queue="other") == Duplicate("1")

        assert ids(await take(here, queues=[QUEUE, "other"])) == ["1"]

    async def test_one_of_a_batch_with_one_key_is_accepted(self, harness: Harness) -> None:
        transport = await harness.connect()

        outcomes = await transport.publish(
            [message("1", unique=_KEY), message("2", unique=_KEY), message("3", unique="other")]
        )

        assert list(outcomes) == [Accepted(), Duplicate("1"), Accepted()]
        assert ids(await take(transport)) == ["1", "3"]

    async def test_a_duplicate_leaves_its_id_free(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY), message("2", unique=_KEY)])

        assert list(await transport.publish([message("2")])) == [Accepted()]

    async def test_a_duplicate_by_its_id_takes_no_key(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1")])

        assert await _try(transport, "1") == Duplicate("1")
        assert await _try(transport, "2") == Accepted()

    async def test_it_is_held_while_leased_orphaned_released_or_delayed(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])

        delivery = await take_one(transport)
        assert await _try(transport, "leased") == Duplicate("1")

        await transport.settle([Release(delivery.receipt)])
        assert await _try(transport, "released") == Duplicate("1")

        await take_one(transport)
        await harness.advance(harness.lease)
        (orphan,) = await await_some(harness, transport)
        assert await _try(transport, "orphaned") == Duplicate("1")

        await transport.settle([Release(orphan.receipt, harness.now() + harness.lease)])
        assert await _try(transport, "delayed") == Duplicate("1")

    async def test_it_is_kept_over_a_retry(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])

        await transport.settle([retry(await take_one(transport))])

        assert await _try(transport, "2") == Duplicate("1")
        await transport.settle([done(await take_one(transport))])
        assert await _try(transport, "2") == Accepted()

    async def test_it_is_kept_over_a_retry_that_names_it_again(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])
        first = await take_one(transport)
        again = retry(first)
        publication = Publication(QUEUE, "1", b"again", unique=Unique(_KEY, 1e6))

        await transport.settle([type(again)(first.receipt, publication)])

        assert await _try(transport, "2") == Duplicate("1")
        assert ids(await take(transport)) == ["1"]

    async def test_it_is_free_once_the_message_is_done_or_dead(self, harness: Harness) -> None:
        transport = await harness.connect()

        for settle in (done, dead):
            await transport.publish([message("1", unique=_KEY)])
            await transport.settle([settle(await take_one(transport))])
            await transport.publish([message("2", unique=_KEY)])
            await transport.settle([done(await take_one(transport))])
            assert live(await count(transport)) == 0

    async def test_it_is_free_once_the_message_is_cancelled_or_purged(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        later = harness.now() + harness.lease

        for delay in (0.0, later):
            await transport.publish([message("1", unique=_KEY, not_before=delay)])
            await transport.cancel([record("1")])
            assert await _try(transport, "2") == Accepted()
            await transport.purge(QUEUE)
            await transport.publish([message("3", unique=_KEY, not_before=delay)])
            await transport.purge(QUEUE)
            assert await _try(transport, "4") == Accepted()
            await transport.purge(QUEUE)

    async def test_it_is_held_by_a_holder_that_is_asked_to_stop_until_that_has_ended(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])
        delivery = await take_one(transport)

        await transport.cancel([record("1")])
        assert await _try(transport, "2") == Duplicate("1")

        await transport.settle([done(delivery, b"cancelled")])
        assert await _try(transport, "2") == Accepted()

    async def test_a_replayed_letter_takes_its_key(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])
        await transport.settle([dead(await take_one(transport), "letter")])

        assert list(await transport.replay([("letter", message("1", unique=_KEY))])) == [True]

        assert await _try(transport, "2") == Duplicate("1")
        await transport.settle([done(await take_one(transport))])
        assert await _try(transport, "2") == Accepted()

    async def test_a_letter_stays_while_another_message_has_its_key(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])
        await transport.settle([dead(await take_one(transport), "letter")])
        await transport.publish([message("2", unique=_KEY)])
        again = ("letter", message("1", unique=_KEY))

        assert list(await transport.replay([again])) == [False]

        assert (await count(transport)).dead == 1
        await transport.settle([done(await take_one(transport))])
        assert list(await transport.replay([again])) == [True]
        assert ids(await take(transport)) == ["1"]

    async def test_it_may_be_held_for_decades(self, harness: Harness) -> None:
        transport = await harness.connect()
        long = Unique(_KEY, _DECADES)

        await transport.publish([Publication(QUEUE, "1", b"", unique=long)])
        await harness.advance(harness.moment)

        assert await _try(transport, "2") == Duplicate("1")
        await transport.cancel([record("1")])
        assert await _try(transport, "2") == Accepted()

    async def test_it_is_free_when_its_ttl_is_over(self, harness: Harness) -> None:
        transport = await harness.connect()
        brief = Unique(_KEY, harness.moment)
        await transport.publish([Publication(QUEUE, "1", b"", unique=brief)])
        begun = harness.now()

        early = await _try(transport, "2")
        assert early == Duplicate("1") or harness.now() >= begun + harness.moment
        await harness.advance(harness.moment * 1.01)

        assert await _try(transport, "3") == Accepted()
        assert ids(await take(transport)) == ["1", "3"]

    async def test_a_message_that_outlived_its_key_does_not_free_the_next_holder(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        brief = Unique(_KEY, harness.moment)
        await transport.publish([Publication(QUEUE, "1", b"", unique=brief)])
        (first,) = await take(transport)
        await harness.advance(harness.moment * 1.01)
        await transport.publish([message("2", unique=_KEY)])

        await transport.settle([done(first)])

        assert await _try(transport, "3") == Duplicate("2")

    async def test_a_settlement_that_is_fenced_out_frees_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", unique=_KEY)])
        stale = await take_one(transport)
        await harness.advance(harness.lease)
        await await_some(harness, transport)

        await transport.settle([done(stale)])

        assert await _try(transport, "2") == Duplicate("1")

    async def test_messages_without_a_key_are_not_unique(self, harness: Harness) -> None:
        transport = await harness.connect()

        assert ids(await give(transport, "1", "2")) == ["1", "2"]

    async def test_neither_retry_nor_release_holds_it_for_longer(self, harness: Harness) -> None:
        transport = await harness.connect()
        names = ("retried", "retried with it", "released")
        held = [Publication(QUEUE, name, b"", unique=Unique(name, _SECONDS * 2)) for name in names]
        await transport.publish(held)
        one, two, three = await take(transport)
        await harness.advance(_SECONDS * 1.1)

        await transport.settle([retry(one), Retry(two.receipt, held[1]), Release(three.receipt)])

        await harness.advance(_SECONDS)
        answers = await transport.publish(
            [Publication(QUEUE, f"next {name}", b"", unique=Unique(name, 1e3)) for name in names]
        )
        assert list(answers) == [Accepted()] * 3

    async def test_that_of_a_follow_up_is_free_when_its_ttl_is_over(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        brief = Unique(_KEY, harness.moment)

        await transport.settle(
            [done(delivery, follow_ups=[Publication(QUEUE, "2", b"", unique=brief)])]
        )

        await harness.advance(harness.moment * 1.01)
        assert await _try(transport, "3") == Accepted()


async def _try(transport: Transport, task_id: str, queue: str = QUEUE) -> PublishOutcome:
    (outcome,) = await transport.publish([message(task_id, queue=queue, unique=_KEY)])
    return outcome
