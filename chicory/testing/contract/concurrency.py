"""Many at once get each message exactly once."""

from __future__ import annotations

import asyncio
import math

from anyio import create_task_group, fail_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    count,
    done,
    ids,
    message,
    record,
    take,
    until_idle,
)
from chicory.transport import (
    Accepted,
    Cancelled,
    Counts,
    Delivery,
    PublishOutcome,
    Settled,
    Transport,
)


class ConcurrencyContract:
    """All verbs, from many tasks, connections and loops."""

    async def test_each_message_is_leased_to_one_of_many_fetchers(self, harness: Harness) -> None:
        connections = [await harness.connect() for _ in range(4)]
        names = [str(number) for number in range(400)]
        await connections[0].publish([message(name) for name in names])
        fetched: list[str] = []

        async def fetch(transport: Transport) -> None:
            while found := await take(transport, 7):
                fetched.extend(ids(found))
                await until_idle()
                answers = await transport.settle([done(delivery) for delivery in found])
                assert list(answers) == [Settled.SETTLED] * len(found)

        with fail_after(harness.patience):
            async with create_task_group() as group:
                for transport in connections * 2:
                    group.start_soon(fetch, transport)

        assert sorted(fetched) == sorted(names)

    async def test_nothing_is_lost_or_doubled_between_producers_and_consumers(
        self, harness: Harness
    ) -> None:
        connections = [await harness.connect() for _ in range(4)]
        total, ran, settled = 300, list[str](), list[str]()

        async def produce(transport: Transport, number: int) -> None:
            for start in range(0, total // 2, 10):
                names = [f"{number} {start + step}" for step in range(10)]
                await transport.publish([message(name) for name in names])
                await checkpoint()

        async def consume(transport: Transport) -> None:
            while True:
                found = await transport.fetch([QUEUE], 5, math.inf)
                ran.extend(ids(found))
                await until_idle()
                answers = await transport.settle([done(delivery, b"done") for delivery in found])
                assert list(answers) == [Settled.SETTLED] * len(found)
                settled.extend(ids(found))
                if len(settled) >= total:
                    group.cancel_scope.cancel()

        with fail_after(harness.patience):
            async with create_task_group() as group:
                for number, transport in enumerate(connections[:2]):
                    group.start_soon(produce, transport, number)
                for transport in connections[2:] * 2:
                    group.start_soon(consume, transport)

        assert len(ran) == len(set(ran)) == total
        assert await count(connections[0]) == Counts()

    async def test_of_many_who_publish_one_id_one_is_accepted(self, harness: Harness) -> None:
        connections = [await harness.connect() for _ in range(4)]

        for number in range(10):
            outcomes = await _all_publish(connections, [str(number)] * 4, None)
            assert outcomes.count(Accepted()) == 1

        assert live_ids(await take(connections[0])) == {str(number) for number in range(10)}

    async def test_of_many_who_publish_one_key_one_is_accepted(self, harness: Harness) -> None:
        connections = [await harness.connect() for _ in range(4)]

        for number in range(10):
            names = [f"{number} {index}" for index in range(4)]
            outcomes = await _all_publish(connections, names, f"key {number}")
            assert outcomes.count(Accepted()) == 1

        assert (await count(connections[0])).ready == 10

    async def test_of_many_who_settle_one_delivery_one_succeeds(self, harness: Harness) -> None:
        connections = [await harness.connect() for _ in range(4)]
        await connections[0].publish([message("1")])
        (delivery,) = await take(connections[0])
        answers: dict[bytes, Settled] = {}

        async def settle(transport: Transport, body: bytes) -> None:
            (answers[body],) = await transport.settle([done(delivery, body)])

        async with create_task_group() as group:
            for number, transport in enumerate(connections):
                group.start_soon(settle, transport, b"%d" % number)

        (winner,) = [body for body, answer in answers.items() if answer is Settled.SETTLED]
        assert (await connections[0].look_up(["1"]))[0].record == winner

    async def test_a_message_is_cancelled_or_fetched_and_not_both(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number in range(20):
            name = str(number)
            await here.publish([message(name)])
            fetched: list[Delivery] = []
            answers: list[Cancelled] = []

            async def fetch(fetched: list[Delivery] = fetched) -> None:
                fetched.extend(await take(here))

            async def cancel(name: str = name, answers: list[Cancelled] = answers) -> None:
                answers.extend(await there.cancel([record(name)]))

            async with create_task_group() as group:
                for step in (fetch, cancel) if number % 2 else (cancel, fetch):
                    group.start_soon(step)

            assert answers == [Cancelled.REQUESTED if fetched else Cancelled.REMOVED]
            await here.settle([done(delivery) for delivery in fetched])

    async def test_a_clone_on_the_loop_of_a_thread_shares_the_broker(
        self, harness: Harness
    ) -> None:
        here = await harness.connect()
        fetched: list[str] = []

        async def consume(clone: Transport) -> None:
            async with clone:
                while len(fetched) < 50:
                    found = await clone.fetch([QUEUE], 5, math.inf)
                    await clone.settle([done(delivery, b"done") for delivery in found])
                    fetched.extend(ids(found))

        async def consume_elsewhere() -> None:
            work = asyncio.wait_for
            await run_sync(lambda: asyncio.run(work(consume(here.clone()), harness.patience)))

        with fail_after(harness.patience):
            async with create_task_group() as group:
                group.start_soon(consume_elsewhere)
                for number in range(50):
                    await here.publish([message(str(number))])

        assert fetched == [str(number) for number in range(50)]
        assert await count(here) == Counts()


async def _all_publish(
    connections: list[Transport], names: list[str], key: str | None
) -> list[PublishOutcome]:
    outcomes: list[PublishOutcome] = []

    async def publish(transport: Transport, name: str) -> None:
        outcomes.extend(await transport.publish([message(name, unique=key)]))

    async with create_task_group() as group:
        for transport, name in zip(connections, names, strict=True):
            group.start_soon(publish, transport, name)
    return outcomes


def live_ids(deliveries: list[Delivery]) -> set[str]:
    """The calls, in no order."""
    return set(ids(deliveries))
