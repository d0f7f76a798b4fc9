"""What stays on the server when all is done: nothing that does not expire by itself."""

from types import SimpleNamespace

from anyio import fail_after

from chicory.testing.contract.steps import (
    QUEUE,
    await_so_many,
    await_some,
    dead,
    done,
    give,
    message,
    record,
    retry,
    take,
)
from chicory.transport import Cancelled, Delivery, Release, WorkerRecord

PATIENT = SimpleNamespace(patience=10.0)
WORKERS = "{chicory}:w"


def lasting(server) -> set[bytes]:
    """Keys that will not expire."""
    return {key for key in server.command("KEYS", "*") if server.command("PTTL", key) == -1}


async def settle_all(transport, deliveries: list[Delivery]) -> None:
    await transport.settle([done(delivery, b"result") for delivery in deliveries])


async def test_a_drain_leaves_nothing(make, server):
    async with make() as transport:
        batch = [message(str(number), unique=f"key {number}") for number in range(300)]
        await transport.publish([*batch, message("other", queue="other")])
        await settle_all(transport, await take(transport, 1000, [QUEUE, "other"]))

        assert lasting(server) == set()


async def test_retries_releases_and_follow_ups_leave_nothing(make, server):
    async with make() as transport:
        one, two, three = await give(transport, "1", "2", "3")
        await transport.settle([retry(one), Release(two.receipt)])
        await transport.settle([done(three, b"", [message("4", queue="other", unique="key")])])
        await settle_all(transport, await take(transport, 10, [QUEUE, "other"]))

        assert lasting(server) == set()


async def test_delayed_messages_leave_nothing(make, server, now):
    async with make() as transport:
        (delivery,) = await give(transport, "released")
        await transport.publish([message(str(number), not_before=now + 0.2) for number in range(9)])
        await transport.settle([Release(delivery.receipt, now + 0.2)])

        await settle_all(transport, await await_so_many(PATIENT, transport, 10))

        assert lasting(server) == set()


async def test_dead_letters_leave_nothing_once_discarded_replayed_or_purged(make, server):
    async with make() as transport:
        await transport.settle([dead(each) for each in await give(transport, "1", "2", "3")])
        assert lasting(server) != set()

        await transport.discard(["letter 1"])
        await transport.replay([("letter 2", message("2"))])
        await settle_all(transport, await take(transport))
        await transport.purge(QUEUE, dead=True)

        assert lasting(server) == set()


async def test_cancelled_and_purged_messages_leave_nothing(make, server, now):
    async with make() as transport:
        (leased,) = await give(transport, "leased")
        later = now + 1000
        await transport.publish([message(str(number)) for number in range(3)])
        await transport.publish([message(f"later {n}", not_before=later) for n in range(3)])

        await transport.cancel([record(name) for name in ("leased", "0", "later 0")])
        await transport.settle([done(leased)])
        await transport.purge(QUEUE)

        assert lasting(server) == set()


async def test_a_cancelled_call_whose_worker_vanished_leaves_no_request(make, server):
    async with make(lease=0.05) as transport:
        await _give_unwanted(transport, "1")

        (orphan,) = await await_some(PATIENT, transport)
        await transport.settle([Release(orphan.receipt)])
        await transport.purge(QUEUE)

        assert lasting(server) == set()


async def _give_unwanted(transport, task_id: str) -> None:
    """Lease a message whose call is to be cancelled: anew where the lease was over before that."""
    answer = None
    while answer is not Cancelled.REQUESTED:
        await give(transport, task_id)
        (answer,) = await transport.cancel([record(task_id)])


async def test_pauses_records_and_workers_leave_nothing(make, server):
    async with make() as transport:
        await transport.set_paused(QUEUE, paused=True)
        await transport.store([record("1")])
        await transport.beat(WorkerRecord("w", (QUEUE,), b""), 10)
        await transport.set_paused(QUEUE, paused=False)

        assert lasting(server) == set()


async def test_a_heartbeat_does_not_read_all_others(make, server):
    async with make() as transport:
        for number in range(30):
            await transport.beat(WorkerRecord(str(number), (QUEUE,), b""), 10)
        server.command("CONFIG", "RESETSTAT")
        await transport.beat(WorkerRecord("w", (QUEUE,), b""), 10)

    assert not {"cmdstat_hgetall", "cmdstat_hvals"} & set(server.command("INFO", "commandstats"))


async def test_heartbeats_clear_away_who_died_long_ago(make, server):
    dead_since_1970 = b"0 1000000 \x92\x90\xc4\x00"
    async with make() as transport:
        for number in range(30):
            server.command("HSET", WORKERS, str(number), dead_since_1970)
        with fail_after(PATIENT.patience):
            while server.command("HLEN", WORKERS) != 1:
                await transport.beat(WorkerRecord("w", (QUEUE,), b""), 10)

        assert [worker.worker_id for worker in await transport.workers()] == ["w"]


async def test_who_fetched_leaves_no_consumer(make, server):
    async with make() as here, make() as there:
        await there.publish([message("1"), message("2")])
        await settle_all(here, await take(here, 1))
        await here.close()

        (group,) = server.command("XINFO", "GROUPS", "{chicory}:s:1:q")
        assert group[group.index(b"consumers") + 1] == 0
        assert len(await take(there)) == 1


async def test_a_settled_message_leaves_stream_index_and_pending_list(make, server):
    async with make() as transport:
        one, two = await give(transport, "1", "2")
        await transport.settle([done(one)])

        assert server.command("XLEN", "{chicory}:s:1:q") == 1
        assert server.command("XPENDING", "{chicory}:s:1:q", "chicory")["pending"] == 1
        assert server.command("KEYS", "{chicory}:m:*") == [b"{chicory}:m:2"]
        await transport.settle([done(two)])
