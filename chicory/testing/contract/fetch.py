"""A message is given to whoever fetches, and to one at a time."""

from __future__ import annotations

import math

from anyio import create_task_group, fail_after

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    await_some,
    give,
    ids,
    message,
    take,
    until_idle,
)
from chicory.transport import (
    Delivery,
)


class FetchContract:
    """``fetch``."""

    async def test_no_more_than_the_limit_is_fetched(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(str(number)) for number in range(5)])

        assert ids(await take(transport, limit=2)) == ["0", "1"]
        assert ids(await take(transport, limit=10)) == ["2", "3", "4"]

    async def test_nothing_there_and_no_wait_is_an_empty_answer(self, harness: Harness) -> None:
        transport = await harness.connect()

        with fail_after(harness.patience):
            assert list(await transport.fetch([QUEUE], 1, 0)) == []

    async def test_an_empty_answer_comes_when_the_wait_is_over(self, harness: Harness) -> None:
        transport = await harness.connect()
        answers: list[list[Delivery]] = []
        end = harness.now() + harness.moment

        async def fetch() -> None:
            answers.append(list(await transport.fetch([QUEUE], 1, harness.moment)))

        with fail_after(harness.patience):
            async with create_task_group() as group:
                group.start_soon(fetch)
                await until_idle()
                assert answers == [] or harness.now() >= end
                await harness.advance(harness.moment)

        assert answers == [[]]

    async def test_a_leased_message_is_given_to_nobody_else(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        end = harness.now() + harness.lease
        await give(here, "1")

        again = [*await take(here), *await take(there)]

        assert again == [] or harness.now() >= end

    async def test_a_waiting_fetch_takes_what_is_published(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, here)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await there.publish([message("1")])

        assert answers == ["1"]

    async def test_a_fetch_from_many_queues_waits_for_all_of_them(self, harness: Harness) -> None:
        transport = await harness.connect()

        for queue in ("a", "b", "c"):
            answers: list[str] = []

            async def fetch(answers: list[str] = answers) -> None:
                answers.extend(ids(await transport.fetch(["a", "b", "c"], 1, math.inf)))

            with fail_after(harness.patience):
                async with create_task_group() as group:
                    group.start_soon(fetch)
                    await until_idle()
                    await transport.publish([message(f"on {queue}", queue=queue)])

            assert answers == [f"on {queue}"]

    async def test_only_the_queues_asked_for_are_served(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message("1", queue="other")])

        assert await take(transport) == []
        assert ids(await take(transport, queues=["other"])) == ["1"]

    async def test_of_two_who_wait_one_gets_the_message(self, harness: Harness) -> None:
        connections = [await harness.connect() for _ in range(2)]
        answers: list[str] = []

        async def fetch(number: int) -> None:
            answers.extend(ids(await await_some(harness, connections[number], 1)))

        async with create_task_group() as group:
            for number in range(2):
                group.start_soon(fetch, number)
            await until_idle()
            await connections[0].publish([message("1")])
            await until_idle()
            await connections[1].publish([message("2")])

        assert sorted(answers) == ["1", "2"]

    async def test_it_waits_for_longer_than_a_lease(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[list[str]] = []

        async def fetch() -> None:
            answers.append(ids(await here.fetch([QUEUE], 1, math.inf)))

        with fail_after(harness.patience):
            async with create_task_group() as group:
                group.start_soon(fetch)
                await until_idle()
                await harness.advance(harness.lease * 1.5)
                await until_idle()
                await there.publish([message("1")])

        assert answers == [["1"]]
