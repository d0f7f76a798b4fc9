"""The connection: one client at a time, replaced by a new one whenever it is lost.

nats-py's own reconnecting gives up for good after certain errors of the server, so it is switched
off: there is one way in which a connection heals, whatever ended it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import nats.errors

from chicory.errors import BrokerConnectionError, ChicoryError
from chicory_nats.address import Address
from chicory_nats.client import Client
from chicory_nats.connecting import connect, end
from chicory_nats.denials import Denials
from chicory_nats.subscriptions import Subscriptions
from chicory_nats.translation import nobody_answers
from chicory_nats.wire import version

logger = logging.getLogger("chicory.nats")

TIMEOUT = 10.0
"""Seconds within which every verb that does not wait ends, with an error if need be."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_STABLE = 5.0
"""Seconds after which a connection is no longer one that the server ends as soon as it is made."""


class Connection:
    """Keeps one client connected, from ``open`` to ``close``.

    Attributes:
        generation: how many clients there have been.
        max_payload: bytes of a message that the server takes.
        version: of the server; nothing where it is not known.
        subscriptions: what the server sends, on this connection and those that replace it.
        denials: what the user may not do.
        is_up: whether one is connected and ready for use.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.generation = 0
        self.max_payload = 1 << 20
        self.version: tuple[int, ...] = ()
        self._client: Client | None = None
        self.subscriptions = Subscriptions(self._write_soon)
        self.denials = Denials(address)
        self._on_up: list[Callable[[], Awaitable[None]]] = []
        self._on_down: list[Callable[[], None]] = []
        self._on_missing: Callable[[], Awaitable[None]] | None = None
        self._missed_at = self._looked_at = -math.inf
        self._look: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._healing: asyncio.Task[None] | None = None
        self._afterwards: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._server: dict[str, Any] = {}
        self._closed = False
        self._pause = 0.0
        self._connected_at = -math.inf

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return self._up.is_set() and not self._closed

    @property
    def server(self) -> dict[str, Any]:
        """What the server says of itself, or the last one did."""
        return self._server

    def on_up(self, action: Callable[[], Awaitable[None]]) -> None:
        """Have ``action`` done whenever the connection was lost and has been made again."""
        self._on_up.append(action)

    def on_down(self, action: Callable[[], None]) -> None:
        """Have ``action`` done whenever the connection is lost or closed."""
        self._on_down.append(action)

    def on_missing(self, action: Callable[[], Awaitable[None]]) -> None:
        """Have ``action`` done where nobody takes requests although there is a connection."""
        self._on_missing = action

    def miss(self) -> None:
        """Note that nobody takes a request, and has not for a while: it is looked why.

        Beside whose request it is, which ends in time; and one look at a time, for what a look
        asks may be missed as well.
        """
        self._missed_at = now = time.monotonic()
        is_looking = self._look is not None and not self._look.done()
        if self._on_missing is None or is_looking or now < self._looked_at + TIMEOUT:
            return
        self._looked_at = now
        self._look = asyncio.get_running_loop().create_task(self._see_why(self._on_missing))

    async def _see_why(self, action: Callable[[], Awaitable[None]]) -> None:
        with suppress(ChicoryError):  # whose request it is gets the error in time
            await action()

    async def open(self) -> None:
        """Connect. Raises ``BrokerConnectionError`` where no server takes the connection."""
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect for good."""
        self._closed = True
        for task in (self._healing, self._afterwards, self._look):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._lose()
        self._up.set()  # for those who wait: they get an error
        if self._client is not None:
            await end(self._client)

    async def wait(self) -> None:
        """Wait until there is a connection. Raises where none is made in time, or ever will be."""
        self.check()
        if self._up.is_set():
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._up.wait()
        except TimeoutError:
            raise self.unreachable() from self._failure
        self.check()

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""
        return self._closed

    def check(self) -> None:
        """Raise where the connection was closed."""
        if self._closed:
            raise BrokerConnectionError(f"the transport to {self.address} is not open")

    def unreachable(self) -> BrokerConnectionError:
        """The error of a call that was not answered."""
        reason = self._failure if not self.is_up else None
        if self.is_up and time.monotonic() < self._missed_at + TIMEOUT:
            reason = nobody_answers(self.address, self._server)
        text = f"{self.address} did not answer in {TIMEOUT:g} s"
        return BrokerConnectionError(f"{text}: {reason}" if reason else text)

    async def ping(self) -> None:
        """One round trip with the server."""
        await self.wait()
        assert self._client is not None
        try:
            await self._client.flush(int(TIMEOUT / 2) - 1)
        except (nats.errors.Error, OSError) as error:
            raise self.unreachable() from error

    async def write(self, commands: bytes) -> None:
        """Send commands; where there is no connection they are dropped."""
        if self._client is not None and not self._closed:
            await self._client.write(commands)

    def _write_soon(self, commands: bytes) -> None:
        if self._client is not None and not self._closed:
            self._client.write_soon(commands)

    def doubt(self, since: float) -> None:
        """Drop a connection over which nothing came ``since`` a moment (monotonic)."""
        client = self._client
        if client is not None and client.heard_at < since and self._up.is_set():
            self._failure = TimeoutError("the server fell silent")
            self._heal()

    async def _connect(self) -> None:
        await self._adopt(
            await connect(self.address, self.subscriptions.hooks, self._note_end, self.denials.hear)
        )

    def _note_end(self, client: Client) -> None:
        """A client was closed, by whomever."""
        if client is self._client and not self._closed:
            self._failure = client.last_error or client.failure
            self._heal()

    async def _adopt(self, client: Client) -> None:
        self._client = client
        self._connected_at = time.monotonic()
        self._server = client.server
        self.max_payload = int(self._server.get("max_payload") or self.max_payload)
        self.version = version(str(self._server.get("version", "")))
        self.generation += 1
        self._missed_at = -math.inf
        self.denials.forget()
        await client.write(self.subscriptions.all())
        self._up.set()
        if self.generation > 1:
            self._afterwards = asyncio.get_running_loop().create_task(self._act())

    async def _act(self) -> None:
        generation = self.generation
        for action in self._on_up:
            while generation == self.generation and self.is_up:
                try:
                    await action()
                except ChicoryError:
                    await asyncio.sleep(_LONGEST_PAUSE)
                else:
                    break

    def _lose(self) -> None:
        self._up.clear()
        for action in self._on_down:
            action()

    def _heal(self) -> None:
        if self._healing is None or self._healing.done():
            self._lose()
            self._healing = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        logger.warning("lost the connection to %s (%s): reconnecting", self.address, self._failure)
        begun = time.monotonic()
        if begun - self._connected_at > _STABLE:
            self._pause = 0.0
        while not self._closed:
            old, self._client = self._client, None
            if old is not None:
                await end(old)
            if self._pause:
                await asyncio.sleep(self._pause)
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            try:
                await self._connect()
            except ChicoryError as error:
                self._failure = error
            else:
                break
        logger.warning("connected to %s again after %.1f s", self.address, time.monotonic() - begun)
