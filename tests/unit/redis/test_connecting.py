"""Who waits for the connection, and which attempt is whose. It lives on asyncio, under trio too."""

import asyncio
from contextlib import suppress

import pytest
from anyio import fail_after

from chicory_redis.address import parse
from chicory_redis.connecting import Connector
from chicory_redis.translation import Lost
from chicory_redis.wire import Wire


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


class Attempts:
    """Those at connecting: each waits until the test ends it."""

    def __init__(self, connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: asyncio.Queue[asyncio.Future] = asyncio.Queue()
        self._connect = connector.connect
        monkeypatch.setattr(connector, "connect", self._attempt)

    async def _attempt(self):
        decided = asyncio.get_running_loop().create_future()
        self.begun.put_nowait(decided)
        await decided
        return await self._connect()


@pytest.fixture
async def wire(server):
    wire = Wire(Connector(parse(server.url), "test"))
    yield wire
    await wire.close()


@pytest.fixture
def attempts(wire, monkeypatch) -> Attempts:
    return Attempts(wire._connector, monkeypatch)


async def calls(wire: Wire, number: int) -> list[asyncio.Task]:
    """They wait for a connection."""
    tasks = [asyncio.create_task(wire.call("ECHO", str(each))) for each in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_one_attempt_that_fails_fails_all_the_calls_that_waited_for_it(wire, attempts):
    with fail_after(60):
        waiting = await calls(wire, 20)
        (await attempts.begun.get()).set_exception(OSError("no route"))

        errors = await asyncio.gather(*waiting, return_exceptions=True)

    assert [(type(error), str(error)) for error in errors] == [(Lost, "no route")] * 20
    assert attempts.begun.empty()


async def test_a_later_call_makes_an_attempt_of_its_own(wire, attempts):
    with fail_after(60):
        for words in ("once", "twice"):
            waiting = await calls(wire, 2)
            (await attempts.begun.get()).set_exception(OSError(words))
            errors = await asyncio.gather(*waiting, return_exceptions=True)
            assert [str(error) for error in errors] == [words, words]

        waiting = await calls(wire, 2)
        (await attempts.begun.get()).set_result(None)

        assert await asyncio.gather(*waiting) == [b"0", b"1"]


async def test_who_is_cancelled_while_he_connects_takes_nobody_s_attempt_with_him(wire, attempts):
    with fail_after(60):
        first, *others = await calls(wire, 3)
        await attempts.begun.get()

        first.cancel()
        with suppress(asyncio.CancelledError):
            await first

        (await attempts.begun.get()).set_result(None)
        assert await asyncio.gather(*others) == [b"1", b"2"]
