"""The connection for commands: whatever happens to it, no call is left without an end."""

import pytest
from redis.asyncio.connection import Connection

from chicory.testing.contract.steps import ids, message, take
from chicory.transport import Accepted, Counts


async def test_a_connection_that_closed_under_a_call_is_made_anew(make, monkeypatch):
    failures = [RuntimeError("the handler is closed"), OSError("broken pipe")]
    send = Connection.send_packed_command

    async def fail_first(connection, *args, **options):
        if failures and b"EVAL" in args[0]:
            raise failures.pop()  # as asyncio does, then as uvloop does
        return await send(connection, *args, **options)

    async with make() as transport:
        monkeypatch.setattr(Connection, "send_packed_command", fail_first)

        assert list(await transport.publish([message("1")])) == [Accepted()]

        assert failures == []
        assert ids(await take(transport)) == ["1"]


async def test_an_answer_that_cannot_be_read_ends_the_call_and_the_next_one_works(
    make, monkeypatch
):
    failures = [ValueError("not a reply")]
    read = Connection.read_response

    async def fail_first(connection, *args, **options):
        answer = await read(connection, *args, **options)
        if failures and isinstance(answer, list):
            raise failures.pop()
        return answer

    async with make() as transport:
        monkeypatch.setattr(Connection, "read_response", fail_first)
        await transport.ping()  # the answer to this one is waited for already

        assert list(await transport.publish([message("1")])) == [Accepted()]

        assert failures == []
        assert ids(await take(transport)) == ["1"]


async def test_what_cannot_be_sent_takes_no_other_call_s_answer(make):
    async with make() as transport:
        await transport.publish([message("1"), message("2")])

        with pytest.raises(UnicodeEncodeError):
            await transport.purge("\ud800")

        assert dict(await transport.counts(["q"])) == {"q": Counts(ready=2)}
        assert ids(await take(transport)) == ["1", "2"]
