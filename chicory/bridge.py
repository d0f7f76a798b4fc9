"""The bridge to clients that know asyncio only: for authors of transports.

Under asyncio there is nothing to bridge and calls run where they are made. Under trio they run
on an asyncio loop of their own, which is a guest in trio's thread (see ``chicory.guest``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, NoReturn, TypeVar

from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled

from chicory.errors import BrokerConnectionError
from chicory.guest import GuestLoop, wind_up
from chicory.loop import asyncio_context, running_trio

logger = logging.getLogger("chicory.bridge")

T = TypeVar("T")


class Bridge:
    """Runs coroutine functions of asyncio for callers on either backend.

    Opened, used and closed on one event loop.

    Args:
        name: of what is behind it, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._guest: GuestLoop | None = None
        self._trio: Any = None
        self._is_open = False

    async def open(self) -> None:
        """Start the asyncio loop, if this is trio. Idempotent."""
        await checkpoint_if_cancelled()
        if self._is_open:
            return
        self._trio = running_trio()
        if self._trio is not None:
            self._guest = GuestLoop(self._trio)
        self._is_open = True

    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call ``function(*args)`` on the asyncio loop; its result, or the error it raised.

        Runs in the caller's context (under trio in a copy). Cancelling the caller cancels the
        call and waits for its end; a call that ends with a result all the same returns it: no
        finished work is lost. A cancelled caller begins nothing.

        Raises:
            BrokerConnectionError: the bridge is closed, or was closed during the call.
        """
        await checkpoint_if_cancelled()
        if not self._is_open:
            _refuse(self._name)
        if self._guest is None:
            return await function(*args)
        return await self._cross(self._guest, function, *args)

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on the asyncio loop, in the order asked; nothing once closed."""
        if not self._is_open:
            return
        if self._guest is None:
            asyncio.get_running_loop().call_soon(function, *args)
        else:
            self._guest.loop.call_soon_threadsafe(function, *args)  # which has it look

    def call_back(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)``, which is the callers', from the asyncio loop; at once.

        An error that it raises is logged.
        """
        try:
            if self._guest is None:
                function(*args)
            else:
                self._guest.visit(function, *args)
        except Exception:
            logger.exception("%s: who was called back raised an error", self._name)

    async def close(self) -> None:
        """Cancel the calls under way and end the asyncio loop. Idempotent.

        Under asyncio calls are their callers' and go on.
        """
        self._is_open = False
        guest, self._guest = self._guest, None
        if guest is not None and not guest.is_over:
            with CancelScope(shield=True):
                await self._cross(guest, wind_up)
                await guest.end()

    async def _cross(
        self, guest: GuestLoop, function: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        if guest.is_over:  # as trio is, almost
            _refuse(self._name)
        call = _Call(self._trio.lowlevel, guest, function, args)
        guest.awaited += 1
        guest.turn()
        await call.ended()
        guest.awaited -= 1
        return call.outcome(self._name)


class _Call(Generic[T]):
    """One call that crosses from trio to its guest, and its outcome that crosses back."""

    def __init__(
        self,
        trio: Any,
        guest: GuestLoop,
        function: Callable[..., Coroutine[Any, Any, T]],
        args: tuple[Any, ...],
    ) -> None:
        self._trio = trio
        self._loop = guest.loop
        self._function = function
        self._args = args
        self._caller: Any = None
        self._raise_cancel: Callable[[], NoReturn] | None = None
        self._has_ended = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._task = self._loop.create_task(self._perform(), context=asyncio_context())
        self._task.add_done_callback(self._finish)

    async def ended(self) -> None:
        """Wait for its end, also where that is cancelled: it is cancelled then, too."""
        if self._has_ended:
            await self._trio.cancel_shielded_checkpoint()
        else:
            self._caller = self._trio.current_task()
            await self._trio.wait_task_rescheduled(self._abort)

    def outcome(self, name: str) -> T:
        error, self._error = self._error, None
        if isinstance(error, asyncio.CancelledError):
            _refuse(name) if self._raise_cancel is None else self._raise_cancel()
        if error is not None:
            try:
                raise error
            finally:
                del error  # or it would hold this frame, which holds it
        return self._result

    async def _perform(self) -> None:
        try:
            self._result = await self._function(*self._args)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (raised in the caller)
            self._error = error
        self._end()  # at once: the task itself ends a turn of the loop later

    def _finish(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before it began, or by what ends a whole loop."""
        if not self._has_ended:
            self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        if self._caller is not None:
            self._trio.reschedule(self._caller)

    def _abort(self, raise_cancel: Callable[[], NoReturn]) -> Any:
        """Trio cancels the caller: it goes on waiting, for the end of the cancelled task."""
        self._raise_cancel = raise_cancel
        with suppress(RuntimeError):  # the loop is closed: the call has ended
            self._loop.call_soon_threadsafe(self._task.cancel)
        return self._trio.Abort.FAILED


def _refuse(name: str) -> NoReturn:
    raise BrokerConnectionError(f"{name}: the connection is closed")
