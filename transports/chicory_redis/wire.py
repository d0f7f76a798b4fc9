"""One connection for commands, shared by all calls.

Calls are written as they come and answered in order: none waits for another's round trip. A call
is never cancelled half-way (see ``operations``), so an answer always finds its call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory_redis.address import Node
from chicory_redis.connecting import Connector, hang_up
from chicory_redis.exchange import Exchange
from chicory_redis.translation import CLIENT_ERRORS, Lost

_PING = b"*1\r\n$4\r\nPING\r\n"
"""Sent before a command whose answer is to come last. A server writes its answers when it has
nothing left to do, first to whom it had something to say last: who gets this answer, too, is
behind all whom the command tells something. Waking each of them takes as long as a script."""


class Wire:
    """Connects when it is first used, and again whenever it was cut.

    Attributes:
        calls: how many commands were sent.
        address: of the server.
        node: it was connected to last, ``None`` before the first time.
    """

    def __init__(self, connector: Connector) -> None:
        self.calls = 0
        self.address = connector.address
        self.node: Node | None = None
        self._connector = connector
        self._line: _Line | None = None
        self._farewells: set[asyncio.Task[None]] = set()
        self._connecting = asyncio.Lock()
        self._failure: Exception | None = None
        self._is_closed = False

    async def call(self, *args: Any, last: bool = False) -> Any:
        """The server's answer to a command; ``last``: whoever is told something by it hears first.

        Raises:
            BrokerConnectionError: this has been closed.
            Lost: there is none; the command may have been executed.
            ResponseError: the server says no.
        """
        line = self._line
        if line is None or line.is_cut:
            line = await self._connect()
        self.calls += 1
        return await line.call(args, last=last)

    @property
    def is_connected(self) -> bool:
        """Whether a call is sent at once."""
        return self._line is not None and not self._line.is_cut

    def cut(self, cause: BaseException) -> None:
        """Give the connection up; the next call makes a new one."""
        if self._line is not None:
            self._line.cut(cause)

    def move(self, host: str, port: int, cause: BaseException) -> None:
        """Go to another node of the cluster: it has our keys."""
        self._connector.moved(self.named(host, port))
        self.cut(cause)

    def named(self, host: str, port: int) -> Node:
        """The node that the one of this connection names: without a host it is at the same one."""
        return Node(host or (self.node or Node()).host, port)

    def learn(self, nodes: Sequence[Node]) -> None:
        """These are nodes of the cluster."""
        self._connector.route.learn(nodes)

    async def close(self) -> None:
        """Disconnect; calls under way and later ones are lost."""
        self._is_closed = True
        if self._line is not None:
            self._line.cut(ConnectionError("the connection was closed"))
        if self._farewells:
            await asyncio.wait(self._farewells)

    async def _connect(self) -> _Line:
        before = self._failure
        async with self._connecting:
            if self._is_closed:
                raise BrokerConnectionError(f"the connection to {self.address} is closed")
            if self._line is None or self._line.is_cut:
                failure = self._failure
                if failure is not None and failure is not before:
                    # that attempt was all's who waited: each would make his own after the others'
                    raise Lost(failure) from failure
                try:
                    connection, node = await self._connector.connect()
                except (*CLIENT_ERRORS, ConfigurationError) as error:
                    self._failure = error
                    raise Lost(error) from error
                self._failure = None
                if self._is_closed:  # meanwhile
                    await hang_up(connection)
                    raise BrokerConnectionError(f"the connection to {self.address} is closed")
                patience = self.address.answer_timeout
                self._line = _Line(connection, patience, self._farewells)
                self.node = node
                self._connector.on_move(node)
            return self._line


class _Line:
    """One life of the connection. ``farewells`` keeps the task that closes it."""

    def __init__(
        self,
        connection: AbstractConnection,
        patience: float,
        farewells: set[asyncio.Task[None]],
    ) -> None:
        self.is_cut = False
        self._farewells = farewells
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._nobody: asyncio.Future[Any] = self._loop.create_future()
        self._nobody.set_result(None)
        self._exchange = Exchange(connection, self._heard)
        self._exchange.lost.add_done_callback(lambda lost: self.cut(lost.result()))

    async def call(self, args: tuple[Any, ...], *, last: bool) -> Any:
        # before anything waits for an answer: what cannot be packed is never sent, and gets none
        packed = self._exchange.pack(*args)
        answer: asyncio.Future[Any] = self._loop.create_future()
        now = self._loop.time()
        if last:
            packed = _PING + packed
            self._waiting.append((self._nobody, now))
        self._waiting.append((answer, now))
        if self._alarm is None:  # one for all: a timer for each call costs as much as the call
            self._alarm = self._loop.call_later(self._patience, self._look)
        try:
            self._exchange.write(packed)
        except CLIENT_ERRORS as error:
            self.cut(error)
        return await answer

    def _look(self) -> None:
        """See whether the next answer is overdue."""
        self._alarm = None
        if self._waiting:
            overdue_at = self._waiting[0][1] + self._patience
            if self._loop.time() >= overdue_at:
                self.cut(TimeoutError(f"no answer within {self._patience:g} s"))
            else:
                self._alarm = self._loop.call_at(overdue_at, self._look)

    def cut(self, cause: BaseException) -> None:
        if self.is_cut:
            return
        self.is_cut = True
        closing = self._loop.create_task(self._exchange.close())
        self._farewells.add(closing)
        closing.add_done_callback(self._farewells.discard)
        if self._alarm is not None:
            self._alarm.cancel()
        for answer, _ in self._waiting:
            if not answer.done():
                answer.set_exception(Lost(cause))
        self._waiting.clear()

    def _heard(self, answer: object) -> None:
        outcome, _ = self._waiting.popleft()
        if outcome.done():
            return
        if isinstance(answer, Exception):
            outcome.set_exception(answer)
        else:
            outcome.set_result(answer)
