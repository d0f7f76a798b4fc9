"""Fetches that wait: woken one by one, by the message or by the time they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

from chicory_redis.operations import Operations
from chicory_redis.server import Server


class Waiter:
    """One fetch that waits.

    Attributes:
        token: under which the server wakes it.
        is_registered: the server knows of it, as far as is known here.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.is_registered = False
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()

    def reset(self) -> None:
        """Begin anew: only what comes from now on wakes it."""
        if self._woken.done():
            self._woken = self._loop.create_future()

    def wake(self) -> None:
        """End its wait, now or when it begins."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until woken, or for so long."""
        timer = self._loop.call_later(seconds, self.wake)
        try:
            await self._woken  # cancelled with who waits, who then leaves
        finally:
            timer.cancel()


class Waiting:
    """The fetches of this client that wait.

    Args:
        server: where they are registered.
        operations: runs what is to be done about those that wait no more.
    """

    def __init__(self, server: Server, operations: Operations) -> None:
        self._server = server
        self._operations = operations
        self._waiters: dict[bytes, Waiter] = {}
        self._numbers: Callable[[], int] = count(1).__next__

    def enter(self) -> Waiter:
        """A new one."""
        number = self._numbers()
        waiter = Waiter(f"{self._server.client} {number}")
        self._waiters[b"%d" % number] = waiter
        return waiter

    def leave(self, waiter: Waiter, queues: Sequence[str]) -> None:
        """It waits no more; what woke it meanwhile is to wake another one."""
        del self._waiters[waiter.token.rpartition(" ")[2].encode()]
        if waiter.is_registered:
            self._operations.begin(self._strike_off(waiter.token, queues))

    def heard(self, message: bytes) -> None:
        """The server wakes one: ``number queue``."""
        number, _, queue = message.partition(b" ")
        waiter = self._waiters.get(number)
        if waiter is not None:
            waiter.wake()
        else:  # it is gone, and who woke it does not know
            token = f"{self._server.client} {number.decode()}"
            self._operations.begin(self._strike_off(token, [queue.decode()]))

    def wake_all(self) -> None:
        """A wake-up may have been lost: let all look again."""
        for waiter in self._waiters.values():
            waiter.wake()

    async def _strike_off(self, token: str, queues: Sequence[str]) -> None:
        await self._server.run("unwait", token, *queues)
