"""The connection on which the server speaks first: wake-ups and records.

It is made when it is first needed and kept from then on. A message may be lost whenever it
breaks, so ``connected`` is called after each connecting: then all must be looked at again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import count, islice
from typing import Any

from chicory.errors import BrokerConnectionError
from chicory_redis.address import Node
from chicory_redis.connecting import Connector
from chicory_redis.exchange import Exchange
from chicory_redis.translation import CLIENT_ERRORS, Lost, is_denied

_AT_ONCE = 500
_PROBE_EVERY = 20.0
_PROBE_PATIENCE = 5.0
_SHORTEST, _LONGEST = 0.01, 0.5
"""Seconds between two attempts to connect: a fetch that waits is deaf until then."""

logger = logging.getLogger("chicory.redis")


class Listener:
    """Keeps subscribed to channels.

    Args:
        connector: makes the connection.
        channel: heard from the beginning to the end.
        permission: which a user must have who may hear all channels.
        heard: called with channel and message.
        connected: called when all channels are subscribed, on a connection just made.
    """

    def __init__(
        self,
        connector: Connector,
        channel: str,
        permission: str,
        heard: Callable[[bytes, bytes], None],
        connected: Callable[[], None],
    ) -> None:
        self._connector = connector
        self._heard = heard
        self._connected = connected
        self._channel = channel
        self._permission = permission
        self._channels: dict[str, None] = {channel: None}
        self._exchange: Exchange | None = None
        self._node: Node | None = None
        self._followed: Node | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._decided = asyncio.Event()  # it is up, or may not be
        self._leave = asyncio.Event()
        self._is_closed = False
        self._numbers = count(1)
        self._barriers: dict[bytes, asyncio.Future[None]] = {}
        self._failure: BaseException = ConnectionError("not connected")

    @property
    def is_up(self) -> bool:
        """Whether what is said now is heard."""
        return self._up.is_set()

    @property
    def is_connected(self) -> bool:
        """Whether something may have been said that is not heard yet: sooner than it is up."""
        return self._exchange is not None

    async def ready(self) -> None:
        """Wait until it is connected; ``Lost`` where it cannot be for a while, or may not be."""
        if self._up.is_set():
            return
        if self._is_closed:
            raise BrokerConnectionError(f"the connection to {self._connector.address} is closed")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            async with asyncio.timeout(self._connector.address.connect_timeout):
                await self._decided.wait()
        except TimeoutError:
            raise Lost(self._failure) from None
        if not self._up.is_set():
            raise Lost(self._failure)

    async def subscribe(self, channels: Collection[str]) -> None:
        """Hear these from now on; ``Lost`` where the connection breaks before they are heard."""
        self._channels.update(dict.fromkeys(channels))
        await self._pass(*[("SUBSCRIBE", *part) for part in _parts(channels)])

    async def unsubscribe(self, channels: Collection[str]) -> None:
        """Hear these no more."""
        for channel in channels:
            self._channels.pop(channel, None)
        if self._exchange is not None:
            _send(self._exchange, *[("UNSUBSCRIBE", *part) for part in _parts(channels)])

    async def barrier(self) -> None:
        """Wait until all that was said by now is heard."""
        await self._pass()

    async def _pass(self, *commands: Sequence[Any]) -> None:
        """Send these, and wait until all that was said before they were executed is heard."""
        exchange = self._exchange
        if exchange is None:
            raise Lost(self._failure)
        token = b"%d" % next(self._numbers)
        passed = self._barriers[token] = asyncio.get_running_loop().create_future()
        _send(exchange, *commands, ("PING", token))
        await passed

    def follow(self, node: Node) -> None:
        """Listen where commands go.

        A server that was replaced, and did not die, stays connected. As a replica it goes on
        saying what is said to its primary, which counts nobody there: it would say that a message
        is handed over, and the primary that nobody took it.
        """
        self._followed = node
        if self._node not in {None, node}:
            self._leave.set()

    async def close(self) -> None:
        """Disconnect."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # -- one connection after the other ---------------------------------------------------

    async def _run(self) -> None:
        pause, told = _SHORTEST, False
        while True:
            try:
                await self._live()
            except Exception as error:  # noqa: BLE001  (whatever it is, to be deaf is worse)
                self._failure = error
                if self._up.is_set():
                    pause, told = _SHORTEST, False
                if not told and not self._leave.is_set():
                    logger.warning("%s: connection lost: %s", self._connector.address, error)
                    told = True
            finally:
                self._down()
            if is_denied(self._failure):
                self._decided.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)
            pause = min(_LONGEST, pause * 2)

    async def _live(self) -> None:
        self._leave.clear()  # before connecting: who says to leave now means where that leads
        self._followed = None
        connection, self._node = await self._connector.connect()
        exchange = Exchange(connection, self._receive)
        if self._followed not in {None, self._node}:
            self._leave.set()
        begin = probe = None
        loop = asyncio.get_running_loop()
        try:
            # at once, for a PING of who is no subscriber is answered otherwise
            self._exchange = exchange
            _send(exchange, ("SUBSCRIBE", self._channel))
            begin = loop.create_task(self._begin())
            probe = loop.create_task(self._probe(exchange))
            raise await exchange.lost
        finally:
            for task in (begin, probe):
                if task is not None:
                    task.cancel()
            await exchange.close()

    async def _begin(self) -> None:
        try:
            await self.subscribe(tuple(self._channels))
        except Lost:
            return
        self._up.set()
        self._decided.set()
        self._connected()

    async def _probe(self, exchange: Exchange) -> None:
        """Break the connection when the other end vanished without a word, or when told to."""
        with suppress(TimeoutError, Lost):
            while not await self._is_to_leave(_PROBE_EVERY):
                async with asyncio.timeout(_PROBE_PATIENCE):
                    await self.barrier()
        await exchange.close()

    async def _is_to_leave(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leave.wait()
        return self._leave.is_set()

    def _down(self) -> None:
        self._exchange = self._node = None
        self._up.clear()
        self._decided.clear()
        barriers, self._barriers = self._barriers, {}
        for passed in barriers.values():
            if not passed.done():
                passed.set_exception(Lost(self._failure))
                passed.exception()  # who waits for it has it; nobody needs to

    def _receive(self, message: Any) -> None:
        if isinstance(message, Exception):
            if is_denied(message):
                message.args = (f"SUBSCRIBE needs {self._permission}: {message}",)
            raise message
        kind = message[0]
        if kind == b"message":
            self._heard(message[1], message[2])
        elif kind == b"pong":
            passed = self._barriers.pop(message[1], None)
            if passed is not None and not passed.done():
                passed.set_result(None)


def _send(exchange: Exchange, *commands: Sequence[Any]) -> None:
    # at once: the server would begin with the first one, and have to be woken for the next one
    packed = b"".join([exchange.pack(*command) for command in commands])
    try:
        exchange.write(packed)
    except CLIENT_ERRORS as error:
        raise Lost(error) from error


def _parts(channels: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(channels)
    while part := list(islice(remaining, _AT_ONCE)):
        yield part
