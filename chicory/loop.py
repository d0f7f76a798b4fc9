"""The running event loop, as something that other threads may call into."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Protocol

from anyio import wait_readable


class Loop(Protocol):
    """A running event loop of either backend."""

    @property
    def key(self) -> object:
        """The backend's own loop object: the same for every ``current_loop()`` on one loop."""
        ...

    def call_soon(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` on the loop, from any thread; False if the loop has ended."""
        ...


class _AsyncioLoop:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.key = loop

    def call_soon(self, function: Callable[..., object], *args: Any) -> bool:
        try:
            self.key.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed
            return False
        return True


class _TrioLoop:
    def __init__(self, token: Any, ended: type[Exception]) -> None:
        self.key = token
        self._ended = ended

    def call_soon(self, function: Callable[..., object], *args: Any) -> bool:
        try:
            self.key.run_sync_soon(function, *args)
        except self._ended:
            return False
        return True


def current_loop() -> Loop:
    """The loop that runs the caller; raises ``RuntimeError`` where none runs."""
    trio = running_trio()
    if trio is not None:
        return _TrioLoop(trio.lowlevel.current_trio_token(), trio.RunFinishedError)
    return _AsyncioLoop(asyncio.get_running_loop())


def running_trio() -> Any:
    """The module, where trio runs the caller; else ``None``."""
    trio = sys.modules.get("trio")  # who runs under trio has imported it
    if trio is None:
        return None
    try:
        trio.lowlevel.current_trio_token()
    except (RuntimeError, AttributeError):  # another thread is in the midst of importing it
        return None
    return trio


class Turn(Protocol):
    """What one task waits for, once; costs less than an ``anyio.Event``."""

    def come(self) -> None:
        """Let it go on; on the same loop. It may have been cancelled meanwhile."""
        ...

    async def wait(self) -> None:
        """Wait; returns at once where it has come already."""
        ...


class _AsyncioTurn:
    __slots__ = ("_come",)

    def __init__(self) -> None:
        self._come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def come(self) -> None:
        if not self._come.done():
            self._come.set_result(None)

    async def wait(self) -> None:
        await self._come


class _TrioTurn:
    __slots__ = ("_has_come", "_trio", "_waiter")

    def __init__(self, trio: Any) -> None:
        self._trio = trio.lowlevel
        self._waiter: Any = None
        self._has_come = False

    def come(self) -> None:
        self._has_come = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._trio.reschedule(waiter)

    async def wait(self) -> None:
        if not self._has_come:
            self._waiter = self._trio.current_task()
            await self._trio.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: Callable[[], object]) -> Any:
        self._waiter = None
        return self._trio.Abort.SUCCEEDED


def turns() -> Callable[[], Turn]:
    """Makes turns for tasks of the running loop."""
    trio = running_trio()
    return _AsyncioTurn if trio is None else lambda: _TrioTurn(trio)


def spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``function`` in the background of the running loop, outside any task group.

    It must not raise. It is cancelled when the loop ends, and sees the caller's context variables.
    """
    trio = running_trio()
    if trio is not None:
        trio.lowlevel.spawn_system_task(function, context=copy_context())
        return
    task = asyncio.get_running_loop().create_task(function())
    _background.add(task)  # the loop itself keeps only a weak reference
    task.add_done_callback(_background.discard)


async def listen(line: socket.socket, hear: Callable[[], bool]) -> None:
    """Call ``hear`` each time that there is something to read, until it returns False.

    What it does not read it is called for again. What it raises is raised here. On asyncio the
    loop calls it: to wake up a task each time costs more.
    """
    if isinstance(current_loop(), _TrioLoop):
        await wait_readable(line)
        while hear():
            await wait_readable(line)
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def heard() -> None:
        if ended.done():
            return
        try:
            if not hear():
                ended.set_result(None)
        except BaseException as error:  # noqa: BLE001  (raised where it is listened)
            ended.set_exception(error)

    loop.add_reader(line, heard)
    try:
        await ended
    finally:
        loop.remove_reader(line)


def cancellations() -> Callable[[], int]:
    """Counts how often the running task was cancelled other than through a scope: asyncio only."""
    task = None if isinstance(current_loop(), _TrioLoop) else asyncio.current_task()
    return (lambda: 0) if task is None else task.cancelling


def new_asyncio_loop() -> asyncio.AbstractEventLoop:
    """A loop that does not run yet: uvloop's where that is installed."""
    try:
        import uvloop  # noqa: PLC0415  (an extra)
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def asyncio_context() -> Context:
    """The caller's context, without what tells libraries that it is not asyncio."""
    context = copy_context()
    library = getattr(sys.modules.get("sniffio"), "current_async_library_cvar", None)
    if library is not None:
        context.run(library.set, None)
    return context


_background: set[asyncio.Task[None]] = set()
