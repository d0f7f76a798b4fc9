"""Who waits is woken, and asks nothing meanwhile.

A poller asks often or answers late: the tests on idling find the former, those on answers, which
need many wake-ups within the time allowed, the latter: a poller slow enough for the one is too slow
for the other. A transport that is woken passes both however slow the machine.
"""

from __future__ import annotations

import math

from anyio import create_task_group, fail_after

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    QUEUE,
    Heard,
    done,
    give,
    ids,
    message,
    record,
    until_idle,
)
from chicory.transport import Transport

_ROUNDS = 150
_FEW = 4


class PushContract:
    """The waits of ``fetch`` and ``watch``."""

    async def test_a_waiting_fetch_asks_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()

        async with create_task_group() as group:
            group.start_soon(transport.fetch, [QUEUE, "other"], 10, math.inf)
            await _assert_quiet(harness)
            group.cancel_scope.cancel()

    async def test_a_waiting_fetch_asks_nothing_while_others_hold_leases_and_delays(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        await give(here, "leased")
        await here.publish([message("delayed", not_before=harness.now() + LATER)])

        async with create_task_group() as group:
            group.start_soon(there.fetch, [QUEUE], 10, math.inf)
            await _assert_quiet(harness)
            group.cancel_scope.cancel()

    async def test_a_waiting_fetch_asks_nothing_of_a_full_queue_that_is_paused(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        await transport.set_paused(QUEUE, paused=True)
        await transport.publish([message("1")])

        async with create_task_group() as group:
            group.start_soon(transport.fetch, [QUEUE], 10, math.inf)
            await _assert_quiet(harness)
            group.cancel_scope.cancel()

    async def test_a_watch_asks_nothing(self, harness: Harness) -> None:
        transport = await harness.connect()
        heard = Heard(harness)
        await transport.watch([str(number) for number in range(10)], heard)

        await _assert_quiet(harness)

        assert heard.records == []

    async def test_messages_are_answered_at_once(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        fetched: list[str] = []

        with fail_after(harness.patience):
            for number in range(_ROUNDS):
                async with create_task_group() as group:
                    group.start_soon(_fetch, here, fetched)
                    await until_idle()
                    await there.publish([message(str(number))])

        assert fetched == [str(number) for number in range(_ROUNDS)]

    async def test_records_are_heard_at_once(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)

        with fail_after(harness.patience):
            for number in range(_ROUNDS):
                name = str(number)
                await here.watch([name], heard)
                await until_idle()
                await there.store([record(name, b"result")])
                await heard.until_hearing(name, b"result")
                here.unwatch([name])


async def _fetch(transport: Transport, fetched: list[str]) -> None:
    deliveries = await transport.fetch([QUEUE], 1, math.inf)
    fetched.extend(ids(deliveries))
    await transport.settle([done(delivery) for delivery in deliveries])


async def _assert_quiet(harness: Harness) -> None:
    await harness.settle_down()
    before = harness.round_trips()
    await harness.idle()
    assert harness.round_trips() - before <= _FEW
