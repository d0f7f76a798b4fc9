"""Settlement by batch, where some of it is refused."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked
from cable import Cable, CabledTransport, RefusalError
from msgspec.structs import replace

from chicory.errors import ConfigurationError
from chicory.testing.memory import MemoryTransport, forget
from chicory.transport import (
    Done,
    Publication,
    Record,
    Settled,
    TransportSettings,
)
from chicory.worker.attempt import Attempt
from chicory.worker.farewell import Farewell
from chicory.worker.settler import MAX_BATCH, WORTH_ANOTHER, Settler

_DEADLINE = 30


class Picky(CabledTransport):
    """Refuses what has the record ``bad``, and with it the batch."""

    interrupted = 0

    async def settle(self, settlements):
        if any(s.record and s.record.body == b"bad" for s in settlements):
            self.cable.calls["refused"] += 1
            raise RefusalError("bad record")
        return await super().settle(settlements)


class Choosy(CabledTransport):
    """Refuses it because of what somebody else has stored there."""

    async def settle(self, settlements):
        if any(s.record and s.record.body == b"bad" for s in settlements):
            await self.cable.enter("refused")
            raise ConfigurationError("another program's data")
        return await super().settle(settlements)


class Twofold(Picky):
    """Is good at two settlements at a time."""

    abilities = replace(Picky.abilities, together=2)


class Remembering(Picky):
    """Gives what is settled again the answer that it got."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.remembered = {}

    async def settle(self, settlements):
        for one in settlements:
            if one.receipt not in self.remembered:
                (answer,) = await MemoryTransport.settle(self, [one])
                self.remembered[one.receipt] = answer
        await self.cable.enter("settle")
        await self.cable.leave("settle")
        return [self.remembered[one.receipt] for one in settlements]


class Bench:
    """A settler with what it has been given and what it answered."""

    def __init__(self, transport, clock, results=None) -> None:
        self.transport, self.cable = transport, transport.cable
        self.answers: dict[str, Settled] = {}
        self.farewell = Farewell()
        self.settler = Settler(transport, results, self.farewell, clock.now, self._answered)

    def _answered(self, items, answers) -> None:
        for (attempt, _), settled in zip(items, answers, strict=True):
            self.answers[attempt.delivery.task_id] = settled

    async def add(self, **bodies) -> None:
        await self.transport.publish([Publication("q", name, b"") for name in bodies])
        for delivery in await self.transport.fetch(["q"], len(bodies), 0):
            record = Record(delivery.task_id, bodies[delivery.task_id], 60)
            self.settler.add(Attempt(delivery, 0.0), Done(delivery.receipt, record))

    async def add_many(self, first: int, number: int) -> None:
        await self.add(**{f"n{first + index}": b"1" for index in range(number)})


async def _bench(kind, clock, results=None):
    name = uuid4().hex
    template = MemoryTransport(TransportSettings(url=f"memory://{name}", clock=clock))
    async with kind.over(template, Cable()) as transport:
        yield Bench(transport, clock, results)
    forget(name)


@pytest.fixture
async def bench(clock):
    async for bench in _bench(Picky, clock):
        yield bench


@pytest.fixture
async def twofold(clock):
    async for bench in _bench(Twofold, clock):
        yield bench


async def test_one_that_is_refused_does_not_take_its_batch_with_it(bench, log):
    await bench.add(a=b"1", b=b"bad", c=b"3")

    await bench.settler.drain()

    assert bench.answers == {"a": Settled.SETTLED, "b": Settled.FENCED, "c": Settled.SETTLED}
    assert bench.settler.backlog == 0
    assert log.count("task b: its outcome is refused") == 1


async def test_what_is_refused_for_a_setting_waits_until_that_is_put_right(bench):
    bench.cable.refused["settle"] = ConfigurationError("the user lacks a permission")
    await bench.add(a=b"1", b=b"2")

    with fail_after(_DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(bench.settler.drain)
            await bench.cable.called("settle", 4)
            before = dict(bench.answers)
            bench.cable.mend()

    assert before == {}
    assert bench.answers == {"a": Settled.SETTLED, "b": Settled.SETTLED}


async def test_what_alone_is_refused_is_given_up_once_another_one_is_taken(clock, log):
    async for bench in _bench(Choosy, clock):
        await bench.add(b=b"bad")
        with fail_after(_DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(bench.settler.drain)
                await bench.cable.called("refused", 2)
                await bench.add(a=b"1")

        assert bench.answers == {"a": Settled.SETTLED, "b": Settled.FENCED}
    assert log.count("task b: its outcome is refused") == 1


async def test_a_connection_lost_while_the_refused_one_is_looked_for_loses_no_outcome(bench):
    await bench.add(a=b"1", b=b"bad", c=b"3")
    bench.cable.down.add("settle")

    async with anyio.create_task_group() as group:
        group.start_soon(bench.settler.drain)
        await bench.cable.called("settle", 3)
        before = dict(bench.answers)
        bench.cable.mend()

    assert before == {}
    assert bench.answers == {"a": Settled.SETTLED, "b": Settled.FENCED, "c": Settled.SETTLED}


async def test_what_was_settled_is_not_sent_again_when_the_rest_of_its_batch_fails(bench, log):
    await bench.add(a=b"1", b=b"2")
    bench.cable.deaf.add("settle")

    async with anyio.create_task_group() as group:
        group.start_soon(bench.settler.drain)
        await bench.cable.called("settle", 2)
        bench.cable.mend()

    # the answers were lost, so that the second time it finds the leases gone
    assert bench.answers == {"a": Settled.FENCED, "b": Settled.FENCED}
    assert bench.settler.backlog == 0


@pytest.fixture
async def apart(clock):
    name = uuid4().hex
    elsewhere = MemoryTransport(TransportSettings(url=f"memory://{name}", clock=clock))
    async with elsewhere:
        async for bench in _bench(Remembering, clock, elsewhere):
            yield bench
    forget(name)


async def test_what_was_settled_though_the_answer_was_lost_is_no_loss_with_two_servers(apart):
    await apart.add(a=b"1", b=b"2")
    apart.cable.deaf.add("settle")

    with fail_after(_DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(apart.settler.drain)
            await apart.cable.called("settle", 2)
            apart.cable.mend()

    assert apart.answers == {"a": Settled.SETTLED, "b": Settled.SETTLED}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_was_settled_when_the_event_loop_cancelled_all_tasks_is_no_loss(bench):
    await bench.add(a=b"1")
    bench.cable.late.add("settle")
    draining = asyncio.create_task(bench.settler.drain())
    await wait_all_tasks_blocked()
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    bench.cable.mend()

    with fail_after(_DEADLINE):
        await bench.settler.drain()

    assert bench.answers == {"a": Settled.SETTLED}


async def test_a_farewell_that_is_over_ends_the_wait_for_an_answer(bench):
    await bench.add(a=b"1")
    bench.cable.stuck.add("settle")

    async with anyio.create_task_group() as group:
        group.start_soon(bench.settler.drain)
        await bench.cable.called("settle", 1)
        group.cancel_scope.cancel()
        bench.farewell.begin(0)

    assert bench.settler.backlog == 1
    assert bench.answers == {}


async def test_a_batch_is_no_larger_than_is_good_for_others(bench, monkeypatch):
    monkeypatch.setattr("chicory.worker.settler.MAX_BATCH", 10)
    await bench.add(**{f"n{number}": b"1" for number in range(35)})

    await bench.settler.drain()

    assert len(bench.answers) == 35
    assert bench.cable.calls["settle"] == 4


async def test_one_batch_goes_at_a_time_however_much_waits(bench):
    bench.cable.stuck.add("settle")

    async with anyio.create_task_group() as group:
        group.start_soon(bench.settler.run)
        await bench.add_many(0, 1)
        await bench.cable.called("settle", 1)
        await bench.add_many(1, 2 * MAX_BATCH)
        await wait_all_tasks_blocked()
        assert bench.cable.calls["settle"] == 1
        bench.cable.mend()
        group.cancel_scope.cancel()
    await bench.settler.drain()

    assert len(bench.answers) == 2 * MAX_BATCH + 1


async def test_a_second_batch_goes_where_that_is_good_and_it_is_large_enough(twofold):
    twofold.cable.stuck.add("settle")

    with fail_after(_DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(twofold.settler.run)
            await twofold.add_many(0, 1)
            await twofold.cable.called("settle", 1)
            await twofold.add_many(1, WORTH_ANOTHER - 1)
            await wait_all_tasks_blocked()
            before = twofold.cable.calls["settle"]
            await twofold.add_many(WORTH_ANOTHER, 1)
            await twofold.cable.called("settle", 2)
            await twofold.add_many(WORTH_ANOTHER + 1, 2 * MAX_BATCH)
            await wait_all_tasks_blocked()
            together = twofold.cable.calls["settle"]
            twofold.cable.mend()
            await twofold.settler.drain()
            group.cancel_scope.cancel()

    assert (before, together) == (1, 2)
    assert len(twofold.answers) == 2 * MAX_BATCH + WORTH_ANOTHER + 1
    assert twofold.settler.backlog == 0


async def test_what_is_under_way_together_is_settled_though_the_worker_ends(twofold):
    twofold.cable.stuck.add("settle")

    with fail_after(_DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(twofold.settler.run)
            await twofold.add_many(0, 1)
            await twofold.cable.called("settle", 1)
            await twofold.add_many(1, WORTH_ANOTHER)
            await twofold.cable.called("settle", 2)
            group.cancel_scope.cancel()
            assert len(twofold.settler.unsettled) == WORTH_ANOTHER + 1
            twofold.cable.mend()
        await twofold.settler.drain()

    assert set(twofold.answers.values()) == {Settled.SETTLED}
    assert len(twofold.answers) == WORTH_ANOTHER + 1


async def test_a_few_outcomes_that_waited_for_one_batch_go_when_it_is_answered(twofold):
    twofold.cable.stuck.add("settle")

    with fail_after(_DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(twofold.settler.run)
            await twofold.add_many(0, 1)
            await twofold.cable.called("settle", 1)
            await twofold.add_many(1, 1)
            twofold.cable.mend()
            await twofold.cable.called("settle", 2)
            group.cancel_scope.cancel()

    assert len(twofold.answers) == 2
