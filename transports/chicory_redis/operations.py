"""Operations that are not left half-way: who is cancelled waits for the end of what he began."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from anyio import CancelScope

from chicory.errors import BrokerConnectionError

T = TypeVar("T")


class Operation(Generic[T]):
    """Something that runs to its end in the background, whoever waits for it.

    Attributes:
        task: which runs it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        loop = asyncio.get_running_loop()
        # resolved by the operation itself: two turns of the loop sooner than by its task
        self._ended: asyncio.Future[None] = loop.create_future()
        self._coroutine = coroutine
        self.task = loop.create_task(self._perform())
        self.task.add_done_callback(self._end)

    async def outlast(self) -> None:
        """Wait until it is over or ``release`` is called; then raise the cancellation if one came.

        Cancelled, it waits until it is over, come what may.
        """
        try:
            await self._ended
        except asyncio.CancelledError:
            with CancelScope(shield=True):
                await asyncio.wait([self.task])
            raise

    async def follow(self) -> None:
        """The same for what may be left half-way: cancelled, it is cancelled, too, at once."""
        try:
            await self._ended
        except asyncio.CancelledError:
            self.task.cancel()
            raise

    def result(self) -> T:
        """What came of it, once it is over."""
        if self.task.cancelled():
            raise BrokerConnectionError("the connection was closed during the call")
        return self.task.result()

    def release(self) -> None:
        """Let go who waits for it; it goes on."""
        self._tell()

    @property
    def is_over(self) -> bool:
        """Whether something came of it."""
        return self.task.done()

    @property
    def has_failed(self) -> bool:
        """Whether it ended without a result."""
        return self.task.cancelled() or self.task.exception() is not None

    async def _perform(self) -> T:
        try:
            return await self._coroutine
        finally:
            self._tell()

    def _end(self, task: asyncio.Task[T]) -> None:
        self._tell()  # here, and closed, where it was cancelled before it began
        self._coroutine.close()
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; nobody needs to

    def _tell(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class Operations:
    """What is under way; lives on one asyncio loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Operation[T]:
        """Run it in the background."""
        operation = Operation(coroutine)
        self._tasks.add(operation.task)
        operation.task.add_done_callback(self._tasks.discard)
        return operation

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end, then raise the cancellation that came meanwhile, if any did."""
        operation = self.begin(coroutine)
        await operation.outlast()
        return operation.result()

    async def close(self) -> None:
        """Cancel what is under way."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
