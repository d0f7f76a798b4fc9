"""Group commit: concurrent calls become one round trip.

While one batch is under way the next one gathers; a call that finds nothing under way goes at
once, but for those who were answered together: they mostly call again, and the first one lets
the others join him, for two turns of the event loop. There is no timer and no background
task: of the callers that wait, the first one makes the round trip for all. An item that is
refused does not take those down that happened to go with it: where the error is about what was
sent, each of them is sent by itself.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from anyio import CancelScope, get_cancelled_exc_class
from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError, ChicoryError, QueueFullError
from chicory.loop import Turn, turns

T = TypeVar("T")
R = TypeVar("R")

_TURNS = 2
"""Of the event loop: all have gone on then that were answered together, in whatever order."""


class _Call(Generic[T, R]):
    __slots__ = ("error", "gone", "item", "leads", "result", "sent", "turn")

    def __init__(self, item: T) -> None:
        self.item = item
        self.turn: Turn | None = None
        self.sent = False
        self.gone = False
        self.leads = False
        self.result: R | None = None
        self.error: BaseException | None = None


class Coalescer(Generic[T, R]):
    """Joins concurrent ``submit(item)`` into calls of ``flush(items)``, at most ``limit`` each.

    ``flush`` must be safe to repeat: a batch whose answer was lost is sent again.
    """

    def __init__(self, flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int) -> None:
        self._flush = flush
        self._limit = limit
        self._waiting: deque[_Call[T, R]] = deque()
        self._under_way = 0
        self._busy = False
        self._are_many = False
        self._turns: Callable[[], Turn] | None = None

    @property
    def calls(self) -> int:
        """How many wait, or are under way."""
        return len(self._waiting) + self._under_way

    async def submit(self, item: T) -> R:
        """The answer to this item; errors of the round trip are raised to each of its callers.

        Cancelled before its batch went off, the item is not sent; afterwards it may have been.
        """
        call: _Call[T, R] = _Call(item)  # an alias that is called costs as much as the call
        self._waiting.append(call)
        if self._busy:
            await self._turn(call)
        if not call.sent:
            if self._are_many:
                await self._let_others_join(call)
            await self._lead()
        if call.error is not None:
            raise _own(call.error)
        return call.result  # pyright: ignore[reportReturnType]

    async def _turn(self, call: _Call[T, R]) -> None:
        if self._turns is None:
            self._turns = turns()
        call.turn = self._turns()
        try:
            await call.turn.wait()
        except BaseException:
            call.gone = True
            if not call.sent:
                self._waiting.remove(call)
                if call.leads:
                    self._pass_on()
            raise

    async def _let_others_join(self, call: _Call[T, R]) -> None:
        self._busy = True
        try:
            for _ in range(_TURNS):
                await checkpoint()
        except BaseException:
            self._waiting.remove(call)
            self._pass_on()
            raise

    async def _lead(self) -> None:
        self._busy = True
        batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
        self._under_way = len(batch)
        self._are_many = self._under_way > 1
        for call in batch:
            call.sent = True
        try:
            if len(batch) == 1:
                await self._answer(batch)
            else:
                # cancelling the caller that happens to lead must not cancel the others' calls
                with CancelScope(shield=True):
                    await self._answer(batch)
        except get_cancelled_exc_class():  # asyncio's own, which no shield of anyio's stops
            self._take_back(batch)
            raise
        except BaseException as error:  # noqa: BLE001  (raised again in each caller)
            for call in batch:
                call.error = error
        finally:
            self._under_way = 0
            for call in batch:
                if call.sent and call.turn is not None:
                    call.turn.come()
            self._pass_on()

    def _take_back(self, batch: Sequence[_Call[T, R]]) -> None:
        """Let the others of a batch wait for their turn again."""
        for call in reversed(batch[1:]):
            if not call.gone:
                call.sent = False
                self._waiting.appendleft(call)

    async def _answer(self, batch: Sequence[_Call[T, R]]) -> None:
        try:
            results = await self._flush([call.item for call in batch])
        except (BrokerConnectionError, QueueFullError):
            raise  # is about the broker, not about one of them
        except ChicoryError:
            if len(batch) == 1:
                raise
            await self._answer_singly(batch)
            return
        for call, result in zip(batch, results, strict=True):
            call.result = result

    async def _answer_singly(self, batch: Sequence[_Call[T, R]]) -> None:
        lost: BrokerConnectionError | None = None
        for call in batch:
            call.error = lost
            if lost is None:
                try:
                    (call.result,) = await self._flush([call.item])
                except BrokerConnectionError as error:
                    call.error = lost = error
                except ChicoryError as error:
                    call.error = error

    def _pass_on(self) -> None:
        self._busy = bool(self._waiting)
        if self._waiting:
            heir = self._waiting[0]
            heir.leads = True
            assert heir.turn is not None
            heir.turn.come()


def _own(error: BaseException) -> BaseException:
    """An exception for one caller: what it is raised with must not show up in the others'."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001  (a class that cannot be copied)
        return error
    own.__cause__, own.__suppress_context__ = error.__cause__, error.__suppress_context__
    return own.with_traceback(error.__traceback__)
