"""What goes over a connection, with hiredis and without. It lives on asyncio, under trio too."""

import asyncio

import pytest
from anyio import fail_after
from redis.exceptions import RedisError, ResponseError

from chicory_redis import exchange as module
from chicory_redis.address import parse
from chicory_redis.connecting import Connector
from chicory_redis.exchange import Exchange

LOST = (OSError, RedisError)


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["hiredis", "without"], autouse=True)
def parser(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setattr(module, "hiredis", None)


@pytest.fixture
async def connection(server):
    connection, _ = await Connector(parse(server.url), "test").connect()
    yield connection
    await connection.disconnect(nowait=True)


class Heard(list):
    """What was heard."""

    def __init__(self) -> None:
        self._more = asyncio.Event()

    def __call__(self, answer: object) -> None:
        self.append(answer)
        self._more.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self._more.clear()
            await self._more.wait()


async def test_what_is_answered_is_told_in_order_errors_among_it(connection):
    heard = Heard()
    exchange = Exchange(connection, heard)
    commands = ("ECHO", "1"), ("NO-COMMAND",), ("ECHO", "x" * 300_000), ("EXISTS", "nothing")
    with fail_after(60):
        exchange.write(b"".join(exchange.pack(*command) for command in commands))
        await heard.until(4)

    first, error, large, last = heard
    assert (first, large, last) == (b"1", b"x" * 300_000, 0)
    assert isinstance(error, ResponseError)
    assert "NO-COMMAND" in str(error)
    assert not exchange.lost.done()
    await exchange.close()


async def test_what_an_answer_raises_ends_it(connection):
    def hear(answer: bytes) -> None:
        raise ValueError(answer.decode())

    exchange = Exchange(connection, hear)
    with fail_after(60):
        exchange.write(exchange.pack("ECHO", "no"))
        lost = await exchange.lost

    assert isinstance(lost, ValueError)
    assert str(lost) == "no"
    await exchange.close()


async def test_an_error_about_the_connection_ends_it(connection, monkeypatch):
    heard = Heard()
    exchange = Exchange(connection, heard)
    monkeypatch.setattr(module, "_ANSWERS", ())
    with fail_after(60):
        exchange.write(exchange.pack("NO-COMMAND"))
        assert isinstance(await exchange.lost, ResponseError)

    assert heard == []
    await exchange.close()


async def test_a_connection_that_is_cut_is_lost_and_takes_no_more(connection, server):
    exchange = Exchange(connection, Heard())
    with fail_after(60):
        server.command("CLIENT", "KILL", "TYPE", "normal")
        assert isinstance(await exchange.lost, LOST)

    await exchange.close()
    with pytest.raises(OSError, match="closed"):
        exchange.write(exchange.pack("PING"))


async def test_one_that_was_cut_before_it_began_is_lost(connection, server):
    with fail_after(60):
        server.command("CLIENT", "KILL", "TYPE", "normal")
        assert await connection._reader.read() == b""

        lost = await Exchange(connection, Heard()).lost

    assert isinstance(lost, LOST)


async def test_what_cannot_be_packed_is_not_sent(connection):
    heard = Heard()
    exchange = Exchange(connection, heard)
    with fail_after(60):
        with pytest.raises(UnicodeEncodeError):
            exchange.pack("ECHO", "\ud800")
        exchange.write(exchange.pack("ECHO", "1"))
        await heard.until(1)

    assert heard == [b"1"]
    await exchange.close()
