"""An asyncio loop that is a guest of trio: it runs in trio's thread, in turns that never wait.

A turn goes on until the loop would wait. What it would wait for is then watched by trio, as what
its other tasks wait for is. So nothing crosses from one thread to another, which costs two
switches and the interpreter's lock each time, and neither loop keeps the other from running.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
from asyncio import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    _set_running_loop,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from anyio import get_available_backends, wait_all_tasks_blocked

from chicory.errors import ConfigurationError

MOST_LOOKS = 32
"""Rounds of the guest in one turn; then others have theirs first."""


class GuestLoop:
    """Runs until it is ended, or trio ends. To be used in the thread of trio only.

    Args:
        trio: the module, which runs here.

    Attributes:
        loop: the asyncio loop.
        awaited: how many of trio's tasks wait for something of it.

    Raises ``ConfigurationError`` where the system has nothing that trio could watch.
    """

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._glance = _Glance()
        self._has_turn = False
        self._nap: Any = None
        self._ends = False
        self._closed = trio.Event()
        self.awaited = 0
        self._library = _library()
        get_available_backends()  # loads what anyio has for asyncio, which takes a while, now
        self.loop = asyncio.SelectorEventLoop(self._glance)
        self._glance.stop = self.loop.stop
        trio.lowlevel.enable_ki_protection(GuestLoop.turn)  # what is half done would stay so
        trio.lowlevel.spawn_system_task(self._attend, name="chicory guest loop")

    def turn(self) -> None:
        """Let it run until it would wait; in its turn it runs anyway."""
        if self._has_turn:
            return
        self._has_turn = True
        self._glance.left = MOST_LOOKS
        host = _get_running_loop()  # trio may be a guest itself
        _set_running_loop(None)
        name, self._library.name = self._library.name, "asyncio"
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt):  # its task has ended so, which says the rest
            self._glance.wait = 0.0
        finally:
            self._library.name = name
            _set_running_loop(host)
            self._has_turn = False
        self._wake_in_time()

    def visit(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function of trio's side out of a turn, as if it had been called there."""
        name, self._library.name = self._library.name, "trio"
        try:
            function(*args)
        finally:
            self._library.name = name

    @property
    def is_over(self) -> bool:
        """Whether it is closed."""
        return self.loop.is_closed()

    async def end(self) -> None:
        """Close it; nothing may be under way any more. Not to be cancelled."""
        self._ends = True
        if self._nap is not None:
            self._nap.cancel()
        await self._closed.wait()

    async def _attend(self) -> None:
        try:
            while not self._ends:
                await self._serve()
        finally:
            with self._trio.CancelScope(shield=True):
                await self._serve_the_last()
            self._part()

    async def _serve_the_last(self) -> None:
        """Trio ends, and tasks that end with it may still need it, one thing after the other."""
        while not self._ends:
            if not self.awaited:
                await wait_all_tasks_blocked()
                if not self.awaited:
                    return
            await self._serve()

    async def _serve(self) -> None:
        self.turn()
        if self._glance.wait == 0.0:
            await self._trio.lowlevel.checkpoint()
        else:
            await self._wait()

    async def _wait(self) -> None:
        wait = self._glance.wait
        self._nap = self._trio.move_on_after(math.inf if wait is None else wait)
        with self._nap:
            await self._trio.lowlevel.wait_readable(self._glance.fileno())
        self._nap = None

    def _wake_in_time(self) -> None:
        """A turn out of its order may have set an alarm that is earlier than those before."""
        wait = self._glance.wait
        if self._nap is not None and wait is not None:
            self._nap.deadline = min(self._nap.deadline, self._trio.current_time() + wait)

    def _part(self) -> None:
        """Close it, where trio ends before what goes on here did: that is cancelled."""
        self._nap = None
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.turn()
        self.loop.close()
        self._closed.set()


async def wind_up() -> None:
    """Cancel whatever else goes on on the running asyncio loop, until nothing does."""
    here = asyncio.current_task()
    while others := [task for task in asyncio.all_tasks() if task is not here]:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


class _Glance(selectors.DefaultSelector):
    """Never waits: where the loop would, the turn is over.

    Attributes:
        stop: ends the turn.
        left: how often the loop may still look in this turn.
        wait: seconds that it would have waited, ``None`` for no end; 0 where it has more to do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] = _nothing
        self.left = 0
        self.wait: float | None = None
        if not hasattr(self, "fileno"):
            raise ConfigurationError(
                "a client that runs on asyncio can be used under trio where the system has epoll "
                "or kqueue: use asyncio here"
            )

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        self.left -= 1
        has_work = timeout == 0 or bool(found)
        if not has_work or self.left <= 0:
            self.wait = 0.0 if has_work else timeout
            self.stop()
        return found


def _nothing() -> None:
    """What there is to stop before there is a loop."""


def _library() -> Any:
    """By its ``name`` libraries find out in this thread which loop runs them."""
    sniffio = sys.modules.get("sniffio")
    return SimpleNamespace(name=None) if sniffio is None else sniffio.thread_local
