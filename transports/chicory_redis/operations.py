"""Operations that are not left half-way: who is cancelled waits for the end of what he began."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from anyio import CancelScope

from chicory.errors import BrokerConnectionError

T = TypeVar("T")


class Operations:
    """What is under way; lives on one asyncio loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it in the background."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end, then raise the cancellation that came meanwhile, if any did."""
        task = self.begin(coroutine)
        await outlast(task)
        return finished(task)

    async def close(self) -> None:
        """Cancel what is under way."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; nobody needs to


def finished(task: asyncio.Task[T]) -> T:
    """What came of a task that is done."""
    if task.cancelled():
        raise BrokerConnectionError("the connection was closed during the call")
    return task.result()


async def outlast(task: asyncio.Task[Any]) -> None:
    """Wait until the task is done, come what may; then raise the cancellation if one came."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        with CancelScope(shield=True):
            await asyncio.wait([task])
        raise
