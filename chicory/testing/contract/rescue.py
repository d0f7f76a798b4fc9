"""A message whose worker vanished is run elsewhere once its lease is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from anyio import Event, create_task_group, fail_after

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    await_so_many,
    await_some,
    body_of,
    dead,
    done,
    give,
    ids,
    message,
    record,
    retry,
    take,
    take_one,
    until_idle,
)
from chicory.transport import Cancelled, Delivery, Release, Settlement, Transport

_ORPHANS = tuple(map(str, range(40)))
_SETTLING: dict[str, Callable[[Delivery, float], Settlement]] = {
    "retry": lambda one, _: retry(one),
    "delayed retry": lambda one, now: retry(one, now + LATER),
    "dead letter": lambda one, _: dead(one),
    "release": lambda one, now: Release(one.receipt, now + LATER),
    "follow-up": lambda one, now: done(
        one, follow_ups=[message(f"after {one.task_id}", not_before=now + LATER)]
    ),
}


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

    @pytest.mark.parametrize("how", _SETTLING)
    async def test_orphans_do_not_wait_longer_because_others_are_settled(
        self, harness: Harness, how: str
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        await give(here, *_ORPHANS)
        await here.close()
        await harness.advance(harness.lease)

        rescued: set[str] = set()
        with fail_after(harness.patience):  # less than a lease for each of them
            while len(rescued) < len(_ORPHANS):
                (one,) = await await_some(harness, there, 1)
                again = one.task_id in rescued
                await there.settle([done(one) if again else _SETTLING[how](one, harness.now())])
                rescued.add(one.task_id)

    async def test_orphans_do_not_wait_longer_because_others_are_cancelled(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        await give(here, *_ORPHANS)
        await here.close()
        waiting = [f"waiting {number}" for number in _ORPHANS]
        await there.publish([message(name) for name in waiting])
        await harness.advance(harness.lease)

        rescued: list[str] = []
        with fail_after(harness.patience):
            while waiting:
                (one,) = await await_some(harness, there, 1)
                await there.settle([done(one)])
                rescued.append(one.task_id)
                assert await there.cancel([record(waiting.pop())]) == [Cancelled.REMOVED]

        assert sorted(rescued) == sorted(_ORPHANS)
