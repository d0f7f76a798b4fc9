"""Keys of ours that hold another program's data: said loudly, and nothing is lost."""

import pytest

from chicory.errors import ConfigurationError
from chicory.testing.contract.steps import count, done, give, ids, message, retry, take
from chicory.transport import Counts, Publication, Retry, Settled

STREAM = "{chicory}:s:1:next"
WORDS = "a key of ours holds another program's data"


async def test_it_is_said_when_publishing(make, server):
    server.command("SET", STREAM, "theirs")
    async with make() as transport:
        with pytest.raises(ConfigurationError, match=WORDS):
            await transport.publish([message("1", queue="next")])

        assert server.command("GET", STREAM) == b"theirs"


async def test_a_settlement_that_cannot_be_whole_is_not_begun(make, server):
    async with make() as transport:
        one, two, three = await give(transport, "1", "2", "3")
        server.command("SET", STREAM, "theirs")
        again = Retry(three.receipt, Publication("next", "3", b""))
        follow_up = done(two, b"two", [message("4", queue="next")])

        with pytest.raises(ConfigurationError, match=WORDS):
            await transport.settle([done(one, b"one"), follow_up, again])

        assert await count(transport) == Counts(leased=2)
        records = [standing.record for standing in await transport.look_up(["1", "2", "3"])]
        assert records == [b"one", None, None]
        server.command("DEL", STREAM)
        assert list(await transport.settle([follow_up, again])) == [Settled.SETTLED] * 2
        assert ids(await take(transport, queues=["next"])) == ["4", "3"]


async def test_other_queues_go_on(make, server):
    async with make() as transport:
        (delivery,) = await give(transport, "1")
        server.command("SET", "{chicory}:d:next", "theirs")
        server.command("ZADD", "{chicory}:t", 1, "dnext")

        await transport.settle([retry(delivery)])

        assert ids(await take(transport)) == ["1"]


async def test_an_index_entry_whose_message_somebody_deleted_stands_in_nobodys_way(make, server):
    async with make() as transport:
        await transport.publish([message("1"), message("2", not_before=1e10)])
        server.command("DEL", "{chicory}:s:1:q", "{chicory}:e:q", "{chicory}:d:q")

        await transport.publish([message("1"), message("2")])

        assert ids(await take(transport)) == ["1", "2"]
