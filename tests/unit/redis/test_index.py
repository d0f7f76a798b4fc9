"""Where live messages are found by their ids: in parts, each for ids that begin alike."""

from collections import Counter

from chicory.message import new_ids
from chicory.testing.contract.steps import done, ids, message, record, take
from chicory.transport import Accepted, Cancelled, Duplicate

ABROAD = [f"{number:09}-{time}" for number in range(20) for time in "ab"]
"""Two ids in each of twenty parts."""


def parts(server) -> Counter[bytes]:
    """How many messages each part lists."""
    return Counter({key: server.command("HLEN", key) for key in server.command("KEYS", "*:m:*")})


async def test_what_comes_together_is_listed_together(make, server):
    async with make() as transport:
        together = new_ids(200)
        await transport.publish([message(name) for name in together])

        assert parts(server) == {f"{{chicory}}:m:{together[0][:9]}".encode(): 200}


async def test_a_batch_may_lie_in_many_parts(make, server, now):
    async with make() as transport:
        batch = [message(name) for name in ABROAD[:30]]
        batch += [message(name, not_before=now + 1000) for name in ABROAD[30:]]

        assert list(await transport.publish(batch)) == [Accepted()] * 40
        assert list(parts(server).values()) == [2] * 20
        assert list(await transport.publish(batch)) == [Duplicate(name) for name in ABROAD]
        cancelled = await transport.cancel([record(name) for name in ABROAD[10:]])
        assert list(cancelled) == [Cancelled.REMOVED] * 30
        deliveries = await take(transport)
        assert ids(deliveries) == ABROAD[:10]
        await transport.settle([done(delivery) for delivery in deliveries])
        assert not parts(server)


async def test_ids_that_begin_alike_are_told_apart(make, server):
    names = ["1", "123456789", "1234567890", "12345678901"]
    async with make() as transport:
        assert list(await transport.publish([message(name) for name in names])) == [Accepted()] * 4

        assert list(await transport.publish([message("1234567890")])) == [Duplicate("1234567890")]
        await transport.cancel([record("123456789")])
        assert ids(await take(transport)) == ["1", "1234567890", "12345678901"]
