"""The connection for commands: whatever happens to it, no call is left without an end."""

import pytest

from chicory.testing.contract.steps import ids, message, take
from chicory.transport import Accepted, Counts, Done, Duplicate, TransportSettings
from chicory_redis import RedisTransport
from chicory_redis.exchange import Exchange


async def test_a_connection_that_closed_under_a_call_is_made_anew(make, monkeypatch):
    failures = [RuntimeError("the handler is closed"), OSError("broken pipe")]
    write = Exchange.write

    def fail_first(exchange, packed):
        if failures and b"EVAL" in packed:
            raise failures.pop()  # as asyncio does, then as uvloop does
        write(exchange, packed)

    async with make() as transport:
        monkeypatch.setattr(Exchange, "write", fail_first)

        assert list(await transport.publish([message("1")])) == [Accepted()]

        assert failures == []
        assert ids(await take(transport)) == ["1"]


async def test_an_answer_that_cannot_be_read_ends_the_call_and_the_next_one_works(
    make, monkeypatch
):
    failures: list[Exception] = []
    tell = Exchange._tell

    def fail_first(exchange, answer):
        if failures and isinstance(answer, list):
            raise failures.pop()
        tell(exchange, answer)

    monkeypatch.setattr(Exchange, "_tell", fail_first)
    async with make() as transport:
        failures.append(ValueError("not a reply"))

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


async def test_who_is_told_something_is_answered_before_who_told_it(make, monkeypatch):
    sent: list[bytes] = []
    write = Exchange.write

    def note(exchange, packed):
        sent.append(packed)
        write(exchange, packed)

    async with make() as transport:
        await transport.publish([message("0")])  # the server knows the scripts by now
        (delivery,) = await transport.fetch(["q"], 1, 0)
        await transport.settle([Done(delivery.receipt)])
        monkeypatch.setattr(Exchange, "write", note)

        await transport.publish([message("1")])
        (delivery,) = await transport.fetch(["q"], 1, 0)
        await transport.settle([Done(delivery.receipt)])

    publish, fetch, settle = sent[:3]
    assert publish.startswith(b"*1\r\n$4\r\nPING\r\n*")  # answered at once: the rest comes last
    assert settle.startswith(b"*1\r\n$4\r\nPING\r\n*")
    assert b"PING" not in fetch  # tells nobody anything


async def test_the_answer_that_nobody_waits_for_may_be_an_error(own_server):
    own_server.command("ACL", "SETUSER", "default", "-ping")
    async with RedisTransport(TransportSettings(url=own_server.url)) as transport:
        assert list(await transport.publish([message("1")])) == [Accepted()]
        assert list(await transport.publish([message("1")])) == [Duplicate("1")]
        assert ids(await take(transport)) == ["1"]
