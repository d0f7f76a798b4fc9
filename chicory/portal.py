"""The door for callers without an event loop: one asyncio loop per process, in a thread.

It starts with the first call and ends with the interpreter, which closes the connections that were
opened on it. A forked child starts one of its own: it inherits no connection.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from chicory.errors import BrokerConnectionError
from chicory.loop import asyncio_context, current_loop, new_asyncio_loop

P = ParamSpec("P")
T = TypeVar("T")

FAREWELL = 5.0
"""Seconds that the end of the interpreter waits for connections to be closed."""
_TOO_LATE = "the interpreter ends: no call can be made any more"


def run_sync(
    shown: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """``await function(*args, **kwargs)`` on the process's background loop, from any thread.

    Runs in a copy of the caller's context. A ``KeyboardInterrupt`` meanwhile cancels the call.

    Args:
        shown: what the caller called, for the error.
        function: a coroutine function.
        args: its arguments.
        kwargs: its arguments.

    Raises:
        RuntimeError: this thread runs an event loop, which would stand still meanwhile.
        BrokerConnectionError: the interpreter is about to end.
    """
    _refuse_on_a_loop(shown)
    call = _Call(lambda: function(*args, **kwargs), asyncio_context())
    portal = _portal()
    try:
        portal.begin(call)
        return call.wait()
    except BaseException:
        portal.abandon(call)  # Ctrl-C; a call that has ended does not mind
        raise


def closed_at_exit(key: Hashable, close: Callable[[], Awaitable[None]]) -> None:
    """Have ``close`` awaited when the background loop ends, if that is the loop that runs here.

    ``key`` replaces the one of the same key.
    """
    if _current is not None and _current.runs_here():
        _current.closing[key] = close


def forget(key: Hashable) -> None:
    """What was to be closed under this key is closed, if it was opened on the running loop."""
    if _current is not None and _current.runs_here():
        _current.closing.pop(key, None)


class Portal:
    """An asyncio loop in a daemon thread.

    Attributes:
        closing: what to await before the loop ends.
    """

    def __init__(self) -> None:
        self.closing: dict[Hashable, Callable[[], Awaitable[None]]] = {}
        self._loop = new_asyncio_loop()
        self._gate = threading.RLock()  # a signal's handler, or a __del__, may call amid a call
        self._is_open = True
        self._calls: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._main, name="chicory portal", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def runs_here(self) -> bool:
        """Whether the caller is on this loop."""
        return threading.current_thread() is self._thread

    def begin(self, call: _Call[Any]) -> None:
        """Start a call. Raises ``BrokerConnectionError`` once closed."""
        with self._gate:
            if self._is_open:
                self._loop.call_soon_threadsafe(self._begin, call)
                return
        raise BrokerConnectionError(_TOO_LATE)

    def close(self) -> None:
        """End the calls under way, close what is to be closed, end the thread. Idempotent."""
        with self._gate:
            if not self._is_open:
                return
            self._is_open = False
            ended = threading.Event()
            self._loop.call_soon_threadsafe(self._end, ended)
        if ended.wait(FAREWELL):
            self._thread.join(FAREWELL)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _begin(self, call: _Call[Any]) -> None:
        if call.abandoned:
            return
        call.task = task = self._loop.create_task(call.perform(), context=call.context)
        self._calls.add(task)
        task.add_done_callback(partial(self._finish, call))

    def _finish(self, call: _Call[Any], task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if self._is_open:  # later on only daemon threads wait: they end where they stand
            call.finish(task)

    def abandon(self, call: _Call[Any]) -> None:
        """Nobody waits for this call any more: cancel it."""
        call.abandoned = True
        with suppress(RuntimeError):  # the loop has ended, and the call with it
            self._loop.call_soon_threadsafe(call.cancel)

    def _end(self, ended: threading.Event) -> None:
        farewell = self._loop.create_task(self._leave())
        farewell.add_done_callback(lambda _: ended.set())
        farewell.add_done_callback(lambda _: self._loop.stop())

    async def _leave(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._stop(self._calls)
                for close in list(self.closing.values()):
                    with suppress(Exception):  # a broker that is gone needs no farewell
                        await close()
                await self._stop(asyncio.all_tasks() - {asyncio.current_task()})

    async def _stop(self, tasks: set[Any]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Call(Generic[T]):
    """One call that crosses to the loop, and its outcome that crosses back."""

    def __init__(self, function: Callable[[], Awaitable[T]], context: Context) -> None:
        self.context = context
        self.task: asyncio.Task[None] | None = None
        self.abandoned = False
        self._function = function
        self._done = threading.Lock()  # a fraction of what a threading.Event costs
        self._done.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None

    async def perform(self) -> None:
        try:
            self._value = await self._function()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  (it is the caller's)
            self._error = error

    def finish(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._error = asyncio.CancelledError()
        self._done.release()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def wait(self) -> T:
        self._done.acquire()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._value  # pyright: ignore[reportReturnType]
        finally:
            del error  # whose traceback refers to this frame


def _refuse_on_a_loop(shown: str) -> None:
    try:
        current_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{shown} would block the event loop that runs in this thread: await {_awaited(shown)}"
    )


def _awaited(shown: str) -> str:
    return shown.replace("_sync(", "(") + " instead"


def _portal() -> Portal:
    global _current  # noqa: PLW0603  (one per process is what it is)
    if _current is None:
        with _starting:
            if _current is None:
                _current = _new_portal()
                atexit.register(_current.close)
    return _current


def _new_portal() -> Portal:
    try:
        return Portal()
    except RuntimeError as error:
        # in a function of atexit: threads, and modules that use them, are refused by then
        if threading.main_thread().is_alive():
            raise
        raise BrokerConnectionError(_TOO_LATE) from error


def _leave_to_the_parent() -> None:
    global _current, _starting
    if _current is not None:
        atexit.unregister(_current.close)
        _inherited.append(_current)  # to be collected is to be closed, under the parent's feet
    _current, _starting = None, threading.RLock()


_current: Portal | None = None
_starting = threading.RLock()
_inherited: list[Portal] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
