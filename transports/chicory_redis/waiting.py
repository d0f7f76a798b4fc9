"""Fetches that wait: woken one by one, by the message or by the time they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from chicory.transport import Delivery
from chicory_redis.operations import Operations
from chicory_redis.server import Server


class Waiter:
    """One fetch that waits.

    Attributes:
        token: under which the server wakes it.
        queues: where it waits.
        is_registered: the server knows of it, as far as is known here.
        handed: messages that are leased for it already.
    """

    def __init__(self, token: str, queues: Sequence[str]) -> None:
        self.token = token
        self.queues = queues
        self.is_registered = False
        self.handed: list[Delivery] = []
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

    def hand(self, delivery: Delivery) -> None:
        """Give it a message, for which the server has struck it off its one queue."""
        self.handed.append(delivery)
        self.is_registered = False
        self.wake()

    def take(self) -> list[Delivery]:
        """What it was handed by now."""
        handed, self.handed = self.handed, []
        return handed

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
        lease: milliseconds; of the messages that they are handed.
    """

    def __init__(self, server: Server, operations: Operations, lease: int) -> None:
        self._server = server
        self._operations = operations
        self._lease = lease
        self._waiters: dict[bytes, Waiter] = {}
        self._numbers: Callable[[], int] = count(1).__next__

    def enter(self, queues: Sequence[str]) -> Waiter:
        """A new one."""
        number = b"%d" % self._numbers()
        # with a lease it can be handed a message; with several queues it would have to be struck
        # off those that the server does not know of by then
        token = f"{self._token(number)} {self._lease}" if len(queues) == 1 else self._token(number)
        waiter = self._waiters[number] = Waiter(token, queues)
        return waiter

    def find(self, number: bytes) -> Waiter | None:
        """The one of that number, while it waits."""
        return self._waiters.get(number)

    def leave(self, waiter: Waiter) -> None:
        """It waits no more, and is registered no more."""
        del self._waiters[waiter.token.split(" ")[1].encode()]

    def heard(self, message: bytes) -> None:
        """The server wakes one: ``number queue``."""
        number, _, queue = message.partition(b" ")
        waiter = self._waiters.get(number)
        if waiter is not None:
            waiter.wake()
        else:  # it is gone, and who woke it does not know
            self._operations.begin(self._pass_on(self._token(number), queue.decode()))

    def wake_all(self) -> None:
        """A wake-up may have been lost: let all look again."""
        for waiter in self._waiters.values():
            waiter.wake()

    def registered(self) -> Iterator[Waiter]:
        """Those that the server may wake, or hand messages to."""
        return (waiter for waiter in [*self._waiters.values()] if waiter.is_registered)

    async def _pass_on(self, token: str, queue: str) -> None:
        await self._server.run("unwait", token, queue)

    def _token(self, number: bytes) -> str:
        return f"{self._server.client} {number.decode()}"
