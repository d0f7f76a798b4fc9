"""What a batch of settlements says once for all of them, and each one for itself."""

from typing import Any

import pytest
from anyio import CancelScope

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import count, done, message, take
from chicory.transport import Counts, Done, Priority, Record, Release, Settled
from chicory_redis import resending
from chicory_redis.server import Server
from chicory_redis.translation import Lost


async def test_each_of_a_batch_is_settled_where_it_is_and_kept_as_long_as_it_says(make, server):
    queues = ["q", "next"]
    async with make() as transport:
        await transport.publish([message("again")])
        await transport.settle([Release(one.receipt) for one in await take(transport)])
        await transport.publish(
            [
                message("low", priority=Priority.LOW),
                message("high", priority=Priority.HIGH),
                message("elsewhere", queue="next"),
                message("like it", queue="next"),
            ]
        )
        deliveries = await take(transport, 10, queues=queues)

        answers = await transport.settle(
            [
                Done(one.receipt, Record(one.task_id, one.task_id.encode(), 100.0 * number))
                for number, one in enumerate(deliveries, 1)
            ]
        )

        assert list(answers) == [Settled.SETTLED] * 5
        for queue in queues:
            assert await count(transport, queue) == Counts()
        for number, one in enumerate(deliveries, 1):
            key = f"{{chicory}}:r:{one.task_id}"
            assert server.command("GET", key) == one.task_id.encode()
            assert 100_000 * (number - 1) < server.command("PTTL", key) <= 100_000 * number


IN_ORDER = list(range(12))
ORDERS = {
    "oldest first": IN_ORDER,
    "newest first": IN_ORDER[::-1],
    "from both ends": [0, 11, 1, 10, 2, 9, 3, 8, 4, 7, 5, 6],
    "not the oldest one": [*IN_ORDER[1:], 0],
}


@pytest.mark.parametrize("older", [0, 3], ids=["theirs is younger", "theirs is older"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_whatever_the_order_nothing_is_left_of_the_settled_and_nothing_of_others_is_touched(
    make, server, order: list[int], older: int
):
    stream = "{chicory}:s:1:q"
    async with make() as transport, make() as other:
        await transport.publish([message(str(number)) for number in range(30)])
        theirs = await take(other, older)
        deliveries = await take(transport, 14)  # of which two stay
        theirs += await take(other, 3)
        kept = {str(number) for number in range(30)} - {
            deliveries[number].task_id for number in order
        }

        for batch in (order[:6], order[6:]):
            answers = await transport.settle([done(deliveries[n], b"result") for n in batch])
            assert list(answers) == [Settled.SETTLED] * 6

        assert set(entries(server, stream)) == kept
        await other.settle([done(one) for one in theirs])
        rest = await take(transport, 100)
        await transport.settle([done(one) for one in (*deliveries[12:], *rest)])
        assert entries(server, stream) == []


async def test_what_was_given_back_and_fetched_again_is_not_settled_by_who_had_it_before(make):
    async with make() as transport:
        await transport.publish([message(str(number)) for number in range(8)])
        before = await take(transport, 8)
        await transport.settle([Release(one.receipt) for one in before[:4]])
        again = await take(transport, 8)

        stale = await transport.settle([done(one) for one in before])
        fresh = await transport.settle([done(one) for one in again])

        assert list(stale) == [Settled.FENCED] * 4 + [Settled.SETTLED] * 4
        assert list(fresh) == [Settled.SETTLED] * 4


async def test_what_lost_its_lease_to_an_operator_is_not_deleted_with_what_is_settled(make, server):
    stream = "{chicory}:s:1:q"
    async with make() as transport, make() as other:
        await transport.publish([message(str(number)) for number in range(12)])
        await take(other, 2)
        deliveries = await take(transport, 8)
        ours = [each[b"name"] for each in consumers(server, stream) if each[b"pending"] == 8]
        for consumer in consumers(server, stream):
            if consumer[b"name"] not in ours:
                server.command("XGROUP", "DELCONSUMER", stream, "chicory", consumer[b"name"])

        await transport.settle([done(one) for one in deliveries[:6]])

        assert entries(server, stream) == ["0", "1", "8", "9", "10", "11"]


def consumers(server, stream: str) -> list[dict[bytes, Any]]:
    """What the server says of each consumer of a stream."""
    rows = server.command("XINFO", "CONSUMERS", stream, "chicory")
    return [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]


def entries(server, stream: str) -> list[str]:
    """The ids of the messages that a stream holds."""
    return [fields[b"i"].decode() for _, fields in server.command("XRANGE", stream, "-", "+")]


async def test_an_answer_that_was_lost_for_good_is_given_to_who_settles_again(make, monkeypatch):
    attempt = Server.attempt

    async def lose_the_answer(server: Server, name: str, *args: Any, **options: Any) -> Any:
        await attempt(server, name, *args, **options)
        raise Lost(ConnectionError("cut"))

    async with make() as transport:
        await transport.publish([message("1")])
        (one,) = await take(transport)
        with monkeypatch.context() as patch:
            patch.setattr(resending, "WINDOW", 0.0)
            patch.setattr(Server, "attempt", lose_the_answer)
            with pytest.raises(BrokerConnectionError):
                await transport.settle([done(one)])
        await transport.publish([message("2")])
        await transport.settle([done(two) for two in await take(transport)])

        answers = [await transport.settle([done(one)]) for _ in range(2)]

    assert [list(each) for each in answers] == [[Settled.SETTLED], [Settled.FENCED]]


async def test_an_answer_that_came_to_who_was_cancelled_is_given_to_who_settles_again(
    make, monkeypatch
):
    attempt, scope = Server.attempt, CancelScope()

    async def cancel(server: Server, name: str, *args: Any, **options: Any) -> Any:
        transport._bridge.call_back(scope.cancel)
        return await attempt(server, name, *args, **options)

    async with make() as transport:
        await transport.publish([message("1")])
        (one,) = await take(transport)
        with monkeypatch.context() as patch, scope:
            patch.setattr(Server, "attempt", cancel)
            await transport.settle([done(one)])
        assert scope.cancelled_caught

        assert list(await transport.settle([done(one)])) == [Settled.SETTLED]
