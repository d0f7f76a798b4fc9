"""Workers are known as long as they beat."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.transport import (
    WorkerRecord,
)

_PRECISION = 0.01
"""Seconds: a broker may round its times."""


class WorkersContract:
    """``beat`` and ``workers``."""

    async def test_a_heartbeat_is_stored_with_its_times(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        begun = harness.now() - _PRECISION

        await here.beat(WorkerRecord("w", ("a", "b c"), b"\x00stats"), harness.lease)

        (worker,) = await there.workers()
        assert (worker.worker_id, worker.queues, worker.body) == ("w", ("a", "b c"), b"\x00stats")
        assert begun <= worker.beat_at <= harness.now() + _PRECISION
        assert abs(worker.expires_at - worker.beat_at - harness.lease) < _PRECISION

    async def test_workers_are_listed_by_id(self, harness: Harness) -> None:
        transport = await harness.connect()
        for worker_id in ("c", "a", "b"):
            await transport.beat(WorkerRecord(worker_id, ("q",), b""), harness.lease)

        assert [worker.worker_id for worker in await transport.workers()] == ["a", "b", "c"]

    async def test_a_new_heartbeat_replaces_the_one_before(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.beat(WorkerRecord("w", ("q",), b"first"), harness.lease)
        await harness.advance(harness.lease * 0.6)
        await transport.beat(WorkerRecord("w", ("q",), b"second"), harness.lease * 10)
        await harness.advance(harness.lease * 0.6)

        (worker,) = await transport.workers()
        assert worker.body == b"second"
        assert worker.expires_at > harness.now()

    async def test_a_worker_that_stopped_beating_is_gone_or_expired(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.beat(WorkerRecord("w", ("q",), b""), harness.moment)

        await harness.advance(harness.moment * 1.01)

        now = harness.now()
        assert all(worker.expires_at <= now for worker in await transport.workers())

    async def test_a_worker_that_leaves_is_gone_at_once(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        stays, leaves = (WorkerRecord(name, ("q",), b"") for name in ("stays", "leaves"))
        await here.beat(stays, harness.lease)
        await here.beat(leaves, harness.lease)

        await there.beat(leaves, 0)
        await there.beat(leaves, -1)

        assert [worker.worker_id for worker in await here.workers()] == ["stays"]

    async def test_a_worker_need_not_consume_anything(self, harness: Harness) -> None:
        transport = await harness.connect()

        await transport.beat(WorkerRecord("w", (), b""), harness.lease)

        assert (await transport.workers())[0].queues == ()

    async def test_a_new_heartbeat_tells_of_other_queues(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.beat(WorkerRecord("w", ("a",), b"1"), 5)

        await transport.beat(WorkerRecord("w", ("b", "c"), b"2"), 50)

        (worker,) = await transport.workers()
        assert (worker.queues, worker.body) == (("b", "c"), b"2")
