"""A message whose worker vanished is run elsewhere once its lease is over."""

from __future__ import annotations

from anyio import Event, create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    await_so_many,
    await_some,
    body_of,
    give,
    ids,
    message,
    take,
    take_one,
    until_idle,
)
from chicory.transport import Release, Transport


class RescueContract:
    """``fetch`` of orphans."""

    async def test_an_orphan_is_fetched_when_its_lease_is_over_and_no_sooner(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        begun = harness.now()
        await give(here, "1")

        await harness.advance(harness.lease * 0.7)
        assert await take(there) == [] or harness.now() >= begun + harness.lease
        await harness.advance(harness.lease * 0.31)

        (orphan,) = await await_some(harness, there)
        assert (orphan.task_id, orphan.body) == ("1", body_of("1"))

    async def test_an_orphan_is_found_by_a_fetch_that_does_not_wait(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await give(here, "1")

        await harness.advance(harness.lease * 1.01)

        assert (await take_one(there)).task_id == "1"

    async def test_a_fetch_that_waits_gets_it_without_any_traffic(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        answers: list[str] = []
        end = harness.now() + harness.lease
        await give(here, "1")

        async def fetch() -> None:
            answers.extend(ids(await await_some(harness, there)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            assert answers == [] or harness.now() >= end
            await harness.advance(harness.lease)

        assert answers == ["1"]

    async def test_a_fetch_that_began_before_the_lease_did_gets_it_too(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        begun, rescued = Event(), list[str]()

        async def work(transport: Transport) -> None:
            (delivery,) = await await_some(harness, transport, 1)
            if begun.is_set():
                rescued.append(delivery.task_id)
            begun.set()  # and vanish, while the other one still waits

        async with create_task_group() as group:
            group.start_soon(work, here)
            group.start_soon(work, there)
            await until_idle()
            await here.publish([message("1")])
            await begun.wait()
            await harness.advance(harness.lease)

        assert rescued == ["1"]

    async def test_a_closed_connection_gives_up_no_lease_early_and_keeps_none(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        begun = harness.now()
        await give(here, "1")
        await here.close()

        assert await take(there) == [] or harness.now() >= begun + harness.lease

        await harness.advance(harness.lease)
        assert ids(await await_some(harness, there)) == ["1"]

    async def test_each_lost_delivery_is_counted(self, harness: Harness) -> None:
        transport = await harness.connect()
        await give(transport, "1")

        for number in (2, 3, 4):
            await harness.advance(harness.lease)
            (delivery,) = await await_some(harness, transport)
            assert delivery.deliveries == number

    async def test_a_release_takes_back_one_delivery_of_many(self, harness: Harness) -> None:
        transport = await harness.connect()
        await give(transport, "1")
        await harness.advance(harness.lease)
        (second,) = await await_some(harness, transport)

        await transport.settle([Release(second.receipt)])

        assert (await take_one(transport)).deliveries == 2

    async def test_a_crowd_of_orphans_is_rescued_whole(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        names = [str(number) for number in range(500)]
        await here.publish([message(name) for name in names])
        assert ids(await await_so_many(harness, here, 500)) == names

        await harness.advance(harness.lease)

        assert sorted(ids(await await_so_many(harness, there, 500))) == sorted(names)
