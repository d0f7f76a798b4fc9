"""What was given up is kept with the reason, until it is replayed or discarded, once."""

from __future__ import annotations

from anyio import create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    TICKS,
    await_some,
    body_of,
    count,
    dead,
    done,
    give,
    ids,
    interrupt,
    live,
    message,
    observe,
    take,
    until_idle,
)
from chicory.transport import (
    Counts,
    Dead,
    DeadLetter,
    Priority,
    Transport,
)


class DeadLettersContract:
    """``Dead``, ``dead_letters``, ``find_dead``, ``replay``, ``discard`` and ``purge``."""

    async def test_a_letter_is_kept_as_it_was_given(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await here.publish([message("1", body=b"\xff\x00 no message", priority=Priority.HIGH)])
        (delivery,) = await take(here)
        given = DeadLetter(
            id="letter",
            queue=QUEUE,
            task_id="1",
            body=delivery.body,
            reason="undecodable",
            error="not a message: \N{SNOWMAN}\n'); --",
            retries=7,
            failed_at=1234.5,
            priority=Priority.HIGH,
            error_type="shop.Sold\N{SNOWMAN}Error",
        )

        await here.settle([Dead(delivery.receipt, given)])

        assert list(await there.dead_letters()) == [given]
        assert list(await there.find_dead(["no", "letter"])) == [None, given]
        assert await count(there) == Counts(dead=1)

    async def test_a_dead_message_is_not_delivered(self, harness: Harness) -> None:
        transport = await harness.connect()
        await _kill(transport, "1")

        await harness.advance(harness.lease)

        assert await take(transport) == []

    async def test_pages_go_from_the_oldest_to_the_newest(self, harness: Harness) -> None:
        transport = await harness.connect()
        names = [str(number) for number in range(7)]
        await _kill(transport, *names)

        seen: list[str] = []
        after: str | None = None
        while page := await transport.dead_letters(after=after, limit=3):
            seen += ids(page)
            after = page[-1].id
            assert len(page) <= 3
            assert len(seen) <= len(names)

        assert seen == names

    async def test_pages_of_one_queue_hold_that_queue_only(self, harness: Harness) -> None:
        transport = await harness.connect()
        for name in ("a1", "b1", "a2", "b2"):
            await transport.publish([message(name, queue=name[0])])
            (delivery,) = await take(transport, queues=[name[0]])
            await transport.settle([dead(delivery)])

        first = await transport.dead_letters("a", limit=1)
        second = await transport.dead_letters("a", after=first[-1].id, limit=10)

        assert ids(first) + ids(second) == ["a1", "a2"]
        assert ids(await transport.dead_letters()) == ["a1", "b1", "a2", "b2"]

    async def test_a_replayed_letter_is_a_message_and_a_letter_no_more(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await _kill(transport, "1", "2")

        answers = await transport.replay([("letter 1", message("1")), ("no letter", message("3"))])

        assert list(answers) == [True, False]
        assert ids(await transport.dead_letters()) == ["2"]
        (again,) = await take(transport)
        assert (again.task_id, again.body, again.deliveries) == ("1", body_of("1"), 1)

    async def test_of_two_replays_one_publishes(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await _kill(here, "1")
        answers: list[bool] = []

        async def replay(transport: Transport, task_id: str) -> None:
            answers.extend(await transport.replay([("letter 1", message(task_id))]))

        async with create_task_group() as group:
            group.start_soon(replay, here, "first")
            group.start_soon(replay, there, "second")

        assert sorted(answers) == [False, True]
        assert live(await count(here)) == 1

    async def test_a_replay_twice_in_one_batch_publishes_once(self, harness: Harness) -> None:
        transport = await harness.connect()
        await _kill(transport, "1")

        answers = await transport.replay([("letter 1", message(name)) for name in ("1", "2")])

        assert list(answers) == [True, False]
        assert ids(await take(transport)) == ["1"]

    async def test_a_replay_that_is_sent_again_doubles_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()
        await _kill(transport, "1")
        replay = [("letter 1", message("1"))]

        await transport.replay(replay)
        await transport.settle([done((await take(transport))[0])])

        assert list(await transport.replay(replay)) == [False]
        assert await take(transport) == []

    async def test_the_call_is_somewhere_at_every_moment_of_a_replay(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()

        async def look() -> None:
            counted = await count(there)
            assert counted.ready + counted.dead == 10

        names = [str(number) for number in range(10)]
        await _kill(here, *names)
        for name in names:
            replay = [(f"letter {name}", message(name))]
            await observe(lambda replay=replay: here.replay(replay), look)

        assert await count(there) == Counts(ready=10)

    async def test_an_interrupted_replay_is_whole_or_not_begun(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number, ticks in enumerate(TICKS):
            name = f"interrupted {number}"
            await _kill(here, name)
            replay = [(f"letter {name}", message(name))]

            returned = await interrupt(lambda replay=replay: here.replay(replay), ticks)

            counted = await count(there)
            assert counted.ready + counted.dead == 1
            assert counted.ready == 1 or not returned
            await there.purge(QUEUE)
            await there.purge(QUEUE, dead=True)

    async def test_a_waiting_fetch_is_woken_by_a_replay(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        await _kill(here, "1")

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await here.replay([("letter 1", message("1"))])

        assert answers == ["1"]

    async def test_a_discarded_letter_is_gone(self, harness: Harness) -> None:
        transport = await harness.connect()
        await _kill(transport, "1", "2")

        assert list(await transport.discard(["letter 1", "no letter"])) == [True, False]

        assert list(await transport.discard(["letter 1"])) == [False]
        assert list(await transport.replay([("letter 1", message("1"))])) == [False]
        assert ids(await transport.dead_letters()) == ["2"]
        assert await count(transport) == Counts(dead=1)

    async def test_a_purge_of_the_dead_leaves_the_living_and_other_queues(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await _kill(transport, "1", "2")
        await transport.publish([message("other", queue="other")])
        (delivery,) = await take(transport, queues=["other"])
        await transport.settle([dead(delivery)])
        await transport.publish([message("living")])

        assert await transport.purge(QUEUE, dead=True) == 2

        assert ids(await transport.dead_letters()) == ["other"]
        assert ids(await take(transport)) == ["living"]

    async def test_one_call_can_die_twice(self, harness: Harness) -> None:
        transport = await harness.connect()
        for number in range(2):
            (delivery,) = await give(transport, "1")
            await transport.settle([dead(delivery, f"letter {number}")])

        assert [found.id for found in await transport.dead_letters()] == ["letter 0", "letter 1"]

    async def test_a_letter_may_differ_from_its_message(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        own = DeadLetter("own", "other", "1", b"as it was", "why", "so", 5, 12.5, Priority.HIGH)

        await transport.settle([Dead(delivery.receipt, own)])

        assert list(await transport.find_dead(["own", "none"])) == [own, None]
        assert list(await transport.dead_letters("other")) == [own]
        assert await transport.counts() == {"other": Counts(dead=1)}

    async def test_a_replay_publishes_what_it_is_given(self, harness: Harness) -> None:
        transport = await harness.connect()
        one, two = await give(transport, "1", "2")
        await transport.settle([dead(one, "one"), dead(two, "two")])

        await transport.replay(
            [
                ("one", message("1", queue="other", body=b"new", priority=Priority.LOW)),
                ("two", message("2", not_before=harness.now() + LATER)),
            ]
        )

        (again,) = await take(transport, queues=["other", QUEUE])
        assert (again.queue, again.body, again.priority) == ("other", b"new", Priority.LOW)
        assert await count(transport) == Counts(delayed=1)

    async def test_a_letter_stays_while_its_call_lives(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.settle([dead(delivery, "letter")])
        await transport.publish([message("1")])

        assert list(await transport.replay([("letter", message("1", body=b"new"))])) == [False]

        assert await count(transport) == Counts(ready=1, dead=1)
        assert (await take(transport))[0].body == body_of("1")

    async def test_it_is_discarded_once(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.settle([dead(delivery, "letter")])

        none, *twice = await transport.discard(["none", "letter", "letter"])

        assert not none
        assert sorted(twice) == [False, True]


async def _kill(transport: Transport, *task_ids: str) -> None:
    """Make dead letters, the first one the oldest."""
    deliveries = await give(transport, *task_ids)
    for delivery in deliveries:
        await transport.settle([dead(delivery)])
