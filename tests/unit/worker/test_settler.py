"""Settlement by batch, where some of it is refused."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest
from cable import Cable, CabledTransport, RefusalError

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
from chicory.worker.settler import Settler


class Picky(CabledTransport):
    """Refuses what has the record ``bad``, and with it the batch."""

    interrupted = 0

    async def settle(self, settlements):
        if any(s.record and s.record.body == b"bad" for s in settlements):
            self.cable.calls["refused"] += 1
            raise RefusalError("bad record")
        return await super().settle(settlements)


class Bench:
    """A settler with what it has been given and what it answered."""

    def __init__(self, transport, clock, results=None) -> None:
        self.transport, self.cable = transport, transport.cable
        self.answers: dict[str, Settled] = {}
        self.farewell = Farewell()
        self.settler = Settler(transport, results, self.farewell, clock.now, self._answered)

    def _answered(self, attempt, settled) -> None:
        self.answers[attempt.delivery.task_id] = settled

    async def add(self, **bodies) -> None:
        await self.transport.publish([Publication("q", name, b"") for name in bodies])
        for delivery in await self.transport.fetch(["q"], len(bodies), 0):
            record = Record(delivery.task_id, bodies[delivery.task_id], 60)
            self.settler.add(Attempt(delivery, 0.0), Done(delivery.receipt, record))


@pytest.fixture
async def bench(clock):
    name = uuid4().hex
    template = MemoryTransport(TransportSettings(url=f"memory://{name}", clock=clock))
    async with Picky.over(template, Cable()) as transport:
        yield Bench(transport, clock)
    forget(name)


async def test_one_that_is_refused_does_not_take_its_batch_with_it(bench, log):
    await bench.add(a=b"1", b=b"bad", c=b"3")

    await bench.settler.drain()

    assert bench.answers == {"a": Settled.SETTLED, "b": Settled.FENCED, "c": Settled.SETTLED}
    assert bench.settler.backlog == 0
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
