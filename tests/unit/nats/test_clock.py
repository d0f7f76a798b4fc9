"""Leases go by the server's clock, whatever those of workers say."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

import pytest
from anyio import fail_after

from chicory.testing.contract.steps import done, give, ids
from chicory.transport import Lease, Settled, TransportSettings, WorkerRecord
from chicory_nats.address import parse
from chicory_nats.clock import Clock, moment
from chicory_nats.locks import Lock
from chicory_nats.session import Session
from chicory_nats.stream import ensure

_PATIENCE = 60.0
_HOUR = 3600.0


@contextmanager
def _wrong_by(seconds: float, monkeypatch):
    right = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + seconds)
        yield


def test_a_timestamp_of_the_server_is_read_with_all_its_digits():
    assert moment("1970-01-01T00:01:00.123456789Z") == 60.123456
    assert moment("1970-01-02T00:00:00Z") == 86_400
    assert moment("") == 0


def test_the_clock_goes_on_from_when_it_was_heard(monkeypatch):
    clock = Clock()
    clock.hear("1970-01-01T00:01:00Z", at=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1002.5)

    assert clock.now() == 62.5


@pytest.mark.parametrize("holders", [_HOUR, -_HOUR, 0])
@pytest.mark.parametrize("readers", [_HOUR, -_HOUR, 0])
async def test_a_lease_is_over_in_time_whoever_has_a_wrong_clock(
    connect, monkeypatch, holders, readers
):
    with _wrong_by(holders, monkeypatch):
        holder = await connect(lease=1)
        (held,) = await give(holder, "1")
        assert await holder.renew([held.receipt]) == [Lease.HELD]

    with _wrong_by(readers, monkeypatch), fail_after(_PATIENCE):
        reader = await connect(lease=1)
        rescued = await reader.fetch([held.queue], 1, 600)

        assert ids(rescued) == ["1"]
        assert await reader.settle([done(rescued[0])]) == [Settled.SETTLED]
    assert await holder.settle([done(held)]) == [Settled.FENCED]


@pytest.mark.parametrize("workers", [_HOUR, -_HOUR, 0])
@pytest.mark.parametrize("readers", [_HOUR, -_HOUR, 0])
async def test_a_worker_is_listed_whoever_has_a_wrong_clock(connect, monkeypatch, workers, readers):
    begun = time.time()
    with _wrong_by(workers, monkeypatch):
        await (await connect()).beat(WorkerRecord("w", ("q",), b""), 30)

    with _wrong_by(readers, monkeypatch):
        (worker,) = await (await connect()).workers()

    assert begun - 1 < worker.beat_at - readers < time.time() + 1
    assert worker.expires_at == pytest.approx(worker.beat_at + 30)


def test_who_has_a_wrong_clock_waits_for_a_lock_like_others(server, namespace, monkeypatch):
    settings = TransportSettings(url=server.url, namespace=namespace)

    async def opened() -> Session:
        session = Session(parse(server.url), settings)
        await session.open()
        await ensure(session)
        await session.set_clock()
        return session

    async def check() -> None:
        first, asked = await opened(), asyncio.Semaphore(0)
        lock = Lock(first, b"q")
        await lock.__aenter__()
        with _wrong_by(_HOUR, monkeypatch):
            second = await opened()
            send = second.send

            async def note(requests):
                asked.release()
                return await send(requests)

            second.send = note
            waiting = asyncio.create_task(Lock(second, b"q").__aenter__())
            async with asyncio.timeout(_PATIENCE):
                for _ in range(5):
                    await asyncio.wait(
                        [waiting, asyncio.create_task(asked.acquire())],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                assert not waiting.done()
                await lock.__aexit__(None, None, None)
                await waiting
        for session in (first, second):
            await session.connection.close()

    asyncio.run(check())
