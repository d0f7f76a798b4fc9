"""A fetch that waits is woken by whatever makes a message ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from anyio import create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    await_some,
    dead,
    done,
    message,
    record,
    retry,
    take_one,
    until_idle,
)
from chicory.transport import Delivery, Priority, Release, Transport

_Cause: TypeAlias = Callable[[Transport, Delivery, float], Awaitable[object]]
"""Makes a message ready, of a delivery, now or at a time."""


class WakingContract:
    """What a fetch that waits must not miss."""

    async def test_what_comes_back_at_once_wakes_a_fetch(self, harness: Harness) -> None:
        for cause in (_release, _publish_low, _publish_high):
            await _assert_it_wakes(harness, cause)

    async def test_what_comes_back_later_wakes_a_fetch_by_the_time_alone(
        self, harness: Harness
    ) -> None:
        for cause in (_release_later, _retry_later, _follow_up_later, _replay_later):
            await _assert_it_wakes(harness, cause, harness.moment)

    async def test_what_nobody_wants_wakes_a_fetch_at_once(self, harness: Harness) -> None:
        for cause in (_retry_unwanted, _release_unwanted):
            await _assert_it_wakes(harness, cause)

    async def test_an_orphan_wakes_a_fetch_whatever_became_of_its_lease(
        self, harness: Harness
    ) -> None:
        for cause in (_renew, _ask_to_stop):
            await _assert_it_wakes(harness, cause, harness.lease, before=True)


async def _assert_it_wakes(
    harness: Harness, cause: _Cause, seconds: float = 0.0, *, before: bool = False
) -> None:
    namespace = cause.__name__
    here, there = await harness.connect(namespace), await harness.connect(namespace)
    found: list[Delivery] = []
    await here.publish([message("1")])
    delivery = await take_one(here)

    async def fetch() -> None:
        found.extend(await await_some(harness, there))

    async with create_task_group() as group:
        if before:
            await cause(here, delivery, harness.now() + seconds)
        group.start_soon(fetch)
        await until_idle()
        if not before:
            await cause(here, delivery, harness.now() + seconds)
            await until_idle()
        if seconds:
            await harness.advance(seconds)

    assert len(found) == 1


async def _release(here: Transport, delivery: Delivery, _: float) -> None:
    await here.settle([Release(delivery.receipt)])


async def _publish_low(here: Transport, _: Delivery, __: float) -> None:
    await here.publish([message("2", priority=Priority.LOW)])


async def _publish_high(here: Transport, _: Delivery, __: float) -> None:
    await here.publish([message("2", priority=Priority.HIGH)])


async def _release_later(here: Transport, delivery: Delivery, due: float) -> None:
    await here.settle([Release(delivery.receipt, due)])


async def _retry_later(here: Transport, delivery: Delivery, due: float) -> None:
    await here.settle([retry(delivery, due)])


async def _follow_up_later(here: Transport, delivery: Delivery, due: float) -> None:
    await here.settle([done(delivery, follow_ups=[message("2", not_before=due)])])


async def _replay_later(here: Transport, delivery: Delivery, due: float) -> None:
    await here.settle([dead(delivery, "letter")])
    await here.replay([("letter", message("1", queue=QUEUE, not_before=due))])


async def _retry_unwanted(here: Transport, delivery: Delivery, due: float) -> None:
    await here.cancel([record("1")])
    await here.settle([retry(delivery, due + LATER)])


async def _release_unwanted(here: Transport, delivery: Delivery, due: float) -> None:
    await here.cancel([record("1")])
    await here.settle([Release(delivery.receipt, due + LATER)])


async def _renew(here: Transport, delivery: Delivery, _: float) -> None:
    await here.renew([delivery.receipt])


async def _ask_to_stop(here: Transport, _: Delivery, __: float) -> None:
    await here.cancel([record("1")])
