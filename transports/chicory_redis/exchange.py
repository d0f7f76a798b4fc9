"""What goes over a connection once it is made: commands out, answers in.

redis-py sends by one coroutine and reads by another. From the socket to who waits that is a turn
of the event loop and a dozen calls more, which a lone call from idle pays at each end of each
trip. So redis-py connects, hiredis packs and parses, and what comes is told as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import BusyLoadingError, InvalidResponse, RedisError, ResponseError

from chicory_redis.connecting import hang_up

try:
    import hiredis
except ImportError:  # redis-py's own packer and parser do, at ten times the cost
    hiredis = None

_NOTHING = object()


class Exchange:
    """Sends, and tells what is answered. The connection is its own from now on.

    Attributes:
        lost: done once nothing will be heard any more, with the reason.

    Args:
        connection: which has just been made.
        heard: called with each answer, which may be an error; what it raises ends the exchange.
    """

    def __init__(self, connection: AbstractConnection, heard: Callable[[Any], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception] = loop.create_future()
        self._connection = connection
        self._heard = heard
        reader, writer = connection._reader, connection._writer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        assert reader is not None
        assert writer is not None
        self._transport = writer.transport
        self._reading: asyncio.Task[None] | None = None
        if hiredis is None:
            self._reading = loop.create_task(self._read())
        else:
            self._transport.set_protocol(
                _Ear(self._transport.get_protocol(), self._tell, self._end)
            )
            if reader.at_eof() or self._transport.is_closing():  # redis-py was told already
                self._end(None)

    def pack(self, *args: Any) -> bytes:
        """A command as it is written. Raises for what cannot be."""
        if hiredis is None:
            return b"".join(self._connection.pack_command(*args))
        return cast("bytes", hiredis.pack_command(args))  # pyright: ignore[reportUnknownMemberType]

    def write(self, packed: bytes) -> None:
        """Send it now; ``OSError`` where the connection is closed.

        It waits for no server that reads slowly, since who sends waits for the answer.
        """
        if self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        self._transport.write(packed)

    async def close(self) -> None:
        """Hang up; nothing is heard any more."""
        self._end(None)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await hang_up(self._connection)

    async def _read(self) -> None:
        try:
            while True:
                self._tell(await self._answer())
        except Exception as error:  # noqa: BLE001  (whatever it is, nobody may wait for it)
            self._end(error)

    async def _answer(self) -> object:
        try:
            return cast("object", await self._connection.read_response(disconnect_on_error=False))
        except RedisError as error:
            return error

    def _tell(self, answer: object) -> None:
        if isinstance(answer, RedisError) and not isinstance(answer, _ANSWERS):
            raise answer  # it is about the connection
        self._heard(answer)

    def _end(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error or ConnectionError("the connection was closed"))


_ANSWERS = (ResponseError, BusyLoadingError)


class _Ear(asyncio.Protocol):
    """Hears in place of redis-py: an answer is told in the turn of the loop in which it comes."""

    def __init__(
        self,
        before: asyncio.BaseProtocol,
        tell: Callable[[Any], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        assert hiredis is not None
        self._reader = hiredis.Reader(InvalidResponse, _meaning, notEnoughData=_NOTHING)
        self._before = before
        self._tell = tell
        self._end = end

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _NOTHING:
                self._tell(answer)
        except Exception as error:  # noqa: BLE001  (whatever it is, nobody may wait for it)
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._before.connection_lost(exc)  # redis-py's, which may be waited for


def _meaning(error: str) -> Exception:
    """An error answer as redis-py has it."""
    return cast("Exception", DefaultParser.parse_error(error))  # pyright: ignore[reportUnknownMemberType]
