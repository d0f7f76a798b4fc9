"""A server whose memory is full takes no messages, and lets all that is there be done."""

from types import SimpleNamespace

import anyio
import pytest

from chicory.errors import QueueFullError
from chicory.testing.contract.steps import (
    QUEUE,
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    message,
    record,
    retry,
    take,
)
from chicory.transport import Cancelled, Counts, Lease, Release, Settled, WorkerRecord

PATIENT = SimpleNamespace(patience=10.0)


@pytest.fixture
def fill(own_server):
    def fill() -> None:
        own_server.command("CONFIG", "SET", "maxmemory", "100kb")

    yield fill
    own_server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.fixture
def make_own(own_server, make):
    return lambda: make(url=own_server.url)


async def test_nothing_more_is_accepted(make_own, fill, own_server):
    async with make_own() as transport:
        fill()

        with pytest.raises(QueueFullError, match="has reached its maxmemory; nothing was stored"):
            await transport.publish([message("1", unique="key"), message("2", not_before=1e10)])

        own_server.command("CONFIG", "SET", "maxmemory", "0")
        assert await count(transport) == Counts()
        assert ids(await give(transport, "1")) == ["1"]
        assert own_server.command("EXISTS", "{chicory}:u:key") == 0


async def test_what_is_leased_can_be_settled_and_renewed(make_own, fill):
    async with make_own() as transport:
        one, two, three, four = await give(transport, "1", "2", "3", "4")
        fill()

        assert list(await transport.renew([one.receipt])) == [Lease.HELD]
        follow_ups = [message("5", queue="next")]
        settlements = [done(one, b"result", follow_ups), retry(two), dead(three)]
        answers = await transport.settle([*settlements, Release(four.receipt)])

        assert list(answers) == [Settled.SETTLED] * 4
        assert ids(await take(transport, queues=[QUEUE, "next"])) == ["4", "2", "5"]
        assert ids(await transport.dead_letters()) == ["3"]
        assert (await transport.look_up(["1"]))[0].record == b"result"


async def test_what_waits_can_be_fetched_orphans_and_delayed_ones_too(make_own, fill, now):
    async with make_own() as transport:
        await transport.publish([message("delayed", not_before=now + 0.05)])
        fill()

        assert ids(await await_some(PATIENT, transport)) == ["delayed"]


async def test_a_fetch_waits_and_is_woken(make_own, fill, own_server):
    async with make_own() as here, make_own() as there:
        fill()
        fetched: list[str] = []

        async def fetch() -> None:
            fetched.extend(ids(await await_some(PATIENT, here)))

        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await registered(own_server)
            own_server.command("CONFIG", "SET", "maxmemory", "0")
            await there.publish([message("1")])

        assert fetched == ["1"]


async def test_everything_else_goes_on(make_own, fill):
    async with make_own() as transport:
        await transport.publish([message("1"), message("2")])
        fill()

        assert list(await transport.cancel([record("1")])) == [Cancelled.REMOVED]
        await transport.store([record("3")])
        await transport.set_paused(QUEUE, paused=True)
        await transport.beat(WorkerRecord("w", (), b""), 10)
        assert await transport.purge(QUEUE) == 1
        assert await count(transport) == Counts(paused=True)


async def registered(server) -> None:
    """Wait until a fetch waits."""
    with anyio.fail_after(60):
        while not server.command("EXISTS", "{chicory}:z:q"):
            await anyio.lowlevel.checkpoint()
