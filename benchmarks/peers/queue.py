"""What a peer's program says of its queue."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BULK = 256
"""Calls at once where a queue has no way of its own to send many; chicory's bulk is as large."""


class Queue(ABC):
    """A queue as its users know it: names of tasks in ``benchmarks.peers.work`` and arguments."""

    uvloop = True
    """Whether it is run on uvloop: where its authors say so, or where it is faster there."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url = url
        self.concurrency = concurrency

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def send(self, name: str, *args: Any) -> None:
        """Enqueue one call."""

    @abstractmethod
    async def ask(self, name: str, *args: Any) -> Any:
        """Enqueue one call and wait for its result."""

    @abstractmethod
    async def work(self) -> None:
        """Run a worker until cancelled."""

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        """Enqueue many calls in the way that is meant for it."""
        await self.at_once(min(count, BULK), count, name, *args)

    async def at_once(self, callers: int, count: int, name: str, *args: Any) -> None:
        """Enqueue calls one after the other, by that many callers."""

        async def call(times: int) -> None:
            for _ in range(times):
                await self.send(name, *args)

        shares = [len(range(caller, count, callers)) for caller in range(callers)]
        await asyncio.gather(*map(call, shares))


class ThreadedQueue(Queue):
    """A queue whose calls block: one call is made as it is, several by as many threads."""

    uvloop = False

    @abstractmethod
    def put(self, name: str, *args: Any) -> None:
        """Enqueue one call."""

    @abstractmethod
    def get(self, name: str, *args: Any) -> Any:
        """Enqueue one call and wait for its result."""

    async def send(self, name: str, *args: Any) -> None:
        self.put(name, *args)

    async def ask(self, name: str, *args: Any) -> Any:
        return self.get(name, *args)

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        # threads would only be in each other's way
        await self.at_once(1, count, name, *args)

    async def at_once(self, callers: int, count: int, name: str, *args: Any) -> None:
        def call(times: int) -> None:
            for _ in range(times):
                self.put(name, *args)

        shares = [len(range(caller, count, callers)) for caller in range(callers)]
        await _in_threads(call, shares)


async def _in_threads(call: Callable[[int], None], shares: list[int]) -> None:
    if len(shares) == 1:
        call(shares[0])
        return
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(shares)) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, call, share) for share in shares))
