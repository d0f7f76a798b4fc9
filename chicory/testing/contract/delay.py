"""A delayed message is fetched at its time, with nobody helping, and never before."""

from __future__ import annotations

from anyio import CancelScope, create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    await_so_many,
    await_some,
    count,
    ids,
    message,
    take,
    until_idle,
)
from chicory.transport import Counts, Priority

_DAYS = 30 * 24 * 3600.0


class DelayContract:
    """``not_before``."""

    async def test_it_is_fetched_at_its_time_and_no_sooner(self, harness: Harness) -> None:
        transport = await harness.connect()
        due = harness.now() + harness.moment
        await transport.publish([message("1", not_before=due)])

        assert await take(transport) == [] or harness.now() >= due
        await harness.advance(harness.moment * 0.5)
        assert await take(transport) == [] or harness.now() >= due
        await harness.advance(harness.moment * 0.5)

        assert ids(await await_some(harness, transport)) == ["1"]
        assert harness.now() >= due

    async def test_a_time_that_is_over_is_no_delay(self, harness: Harness) -> None:
        transport = await harness.connect()

        await transport.publish([message("1", not_before=harness.now() - harness.moment)])

        assert ids(await take(transport)) == ["1"]

    async def test_a_fetch_that_waits_is_woken_by_the_time_alone(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            due = harness.now() + harness.moment
            await here.publish([message("1", not_before=due)])
            for _ in range(2):
                await harness.settle_down()
                assert answers == [] or harness.now() >= due
                await harness.advance(harness.moment * 0.5)

        assert answers == ["1"]

    async def test_who_waits_and_leaves_leaves_it_to_another(self, harness: Harness) -> None:
        leaver, stayer = await harness.connect(), await harness.connect()
        publisher, scope = await harness.connect(), CancelScope()
        answers: list[str] = []

        async def leave() -> None:
            with scope:
                await leaver.fetch([QUEUE], 1, 3600)

        async def stay() -> None:
            answers.extend(ids(await await_some(harness, stayer)))

        async with create_task_group() as group:
            for fetch in (leave, stay):
                group.start_soon(fetch)
                await until_idle()
            due = harness.now() + harness.moment
            await publisher.publish([message("1", not_before=due)])
            await harness.settle_down()
            scope.cancel()
            await until_idle()
            await harness.advance(harness.moment)

        assert answers == ["1"]

    async def test_an_earlier_one_is_not_kept_by_a_later_one(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        now = harness.now()
        await here.publish([message("late", not_before=now + _DAYS)])

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await here.publish([message("soon", not_before=harness.now() + harness.moment)])
            await until_idle()
            await harness.advance(harness.moment)

        assert answers == ["soon"]
        assert (await count(here)).delayed == 1

    async def test_it_is_due_although_nobody_was_connected(self, harness: Harness) -> None:
        here = await harness.connect()
        await here.publish([message("1", not_before=harness.now() + harness.moment)])
        await here.close()

        await harness.advance(harness.moment)

        assert ids(await await_some(harness, await harness.connect())) == ["1"]

    async def test_it_does_not_hold_up_what_is_ready(self, harness: Harness) -> None:
        transport = await harness.connect()
        later = message("later", priority=Priority.HIGH, not_before=harness.now() + LATER)

        await transport.publish([later, message("now")])

        assert ids(await take(transport)) == ["now"]

    async def test_when_due_it_goes_by_its_priority(self, harness: Harness) -> None:
        transport = await harness.connect()
        due = harness.now() + harness.moment
        await transport.publish(
            [
                message("low", priority=Priority.LOW, not_before=due),
                message("normal"),
                message("high", priority=Priority.HIGH, not_before=due),
            ]
        )

        await harness.advance(harness.moment)

        assert ids(await take(transport)) == ["high", "normal", "low"]

    async def test_many_that_are_due_at_once_are_all_fetched(self, harness: Harness) -> None:
        transport = await harness.connect()
        due = harness.now() + harness.moment
        names = sorted(str(number) for number in range(300))
        await transport.publish([message(name, not_before=due) for name in names])

        await harness.advance(harness.moment)

        assert sorted(ids(await await_so_many(harness, transport, 300))) == names
        assert await count(transport) == Counts(leased=300)
