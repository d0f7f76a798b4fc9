"""The bridge to clients that know asyncio only: for authors of transports.

Under asyncio there is nothing to bridge and calls run where they are made. Under trio they run
on an asyncio loop of their own (uvloop where installed) in one thread, and cross over and back.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, NoReturn, TypeVar

from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint_if_cancelled

from chicory.errors import BrokerConnectionError
from chicory.loop import Loop, asyncio_context, current_loop, new_asyncio_loop

T = TypeVar("T")


class Bridge:
    """Runs coroutine functions of asyncio for callers on either backend.

    Opened, used and closed on one event loop.

    Args:
        name: of the thread, where there is one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: _LoopThread | None = None
        self._trio: Any = None
        self._is_open = False

    async def open(self) -> None:
        """Start the thread, if this is trio. Idempotent."""
        await checkpoint_if_cancelled()
        if self._is_open:
            return
        self._trio = _running_trio()
        if self._trio is not None:
            self._thread = _LoopThread(self._name, current_loop())
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
        if self._thread is None:
            return await function(*args)
        call = _Call(self._trio, self._thread, function, args)
        self._thread.begin(call)
        await self._trio.lowlevel.wait_task_rescheduled(call.abort)
        return call.outcome(self._name)

    @property
    def crosses(self) -> bool:
        """Whether calls run on another thread than their callers."""
        return self._thread is not None

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on the asyncio loop, in the order asked; nothing once closed."""
        if not self._is_open:
            return
        if self._thread is None:
            asyncio.get_running_loop().call_soon(function, *args)
        else:
            self._thread.loop.call_soon_threadsafe(function, *args)

    async def close(self) -> None:
        """Cancel the calls under way and end the thread. Idempotent.

        Under asyncio calls are their callers' and go on.
        """
        self._is_open = False
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.end()


class _LoopThread:
    """A thread that runs an asyncio loop until told to end."""

    def __init__(self, name: str, home: Loop) -> None:
        self.loop = new_asyncio_loop()
        self.home = home
        self._stop = asyncio.Event()
        self._ended = Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def begin(self, call: _Call[Any]) -> None:
        self.loop.call_soon_threadsafe(self._begin, call)

    async def end(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        with CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._serve())
        finally:
            self.home.call_soon(self._ended.set)

    async def _serve(self) -> None:
        await self._stop.wait()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _begin(self, call: _Call[Any]) -> None:
        task = self.loop.create_task(call.perform(), context=call.context)
        call.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(call.finish)


class _Call(Generic[T]):
    """One call that crosses from trio to the thread, and its outcome that crosses back."""

    def __init__(
        self,
        trio: Any,
        thread: _LoopThread,
        function: Callable[..., Coroutine[Any, Any, T]],
        args: tuple[Any, ...],
    ) -> None:
        self.context = asyncio_context()
        self.task: asyncio.Task[None] | None = None
        self._trio = trio
        self._thread = thread
        self._caller = trio.lowlevel.current_task()
        self._function = function
        self._args = args
        self._raise_cancel: Callable[[], NoReturn] | None = None
        self._has_ended = False
        self._result: Any = None
        self._error: BaseException | None = None

    async def perform(self) -> None:
        try:
            self._result = await self._function(*self._args)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (raised in the caller)
            self._error = error
        self._end()  # at once: the task itself ends a turn of the loop later

    def finish(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before it began, or by what ends the whole thread."""
        if not self._has_ended:
            self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        self._thread.home.call_soon(self._resume)

    def _resume(self) -> None:
        self._trio.lowlevel.reschedule(self._caller)

    def abort(self, raise_cancel: Callable[[], NoReturn]) -> Any:
        """Trio cancels the caller: it goes on waiting, for the end of the cancelled task."""
        self._raise_cancel = raise_cancel
        with suppress(RuntimeError):  # the loop is closed: the call has ended
            self._thread.loop.call_soon_threadsafe(self._cancel)
        return self._trio.lowlevel.Abort.FAILED

    def _cancel(self) -> None:
        assert self.task is not None
        self.task.cancel()

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


def _refuse(name: str) -> NoReturn:
    raise BrokerConnectionError(f"{name}: the connection is closed")


def _running_trio() -> Any:
    trio = sys.modules.get("trio")  # who runs under trio has imported it
    if trio is None:
        return None
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    return trio
