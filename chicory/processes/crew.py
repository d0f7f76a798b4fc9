"""The processes of one worker: started when calls need them, kept warm, replaced when they end."""

from __future__ import annotations

import contextvars
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
from anyio import CapacityLimiter, Event, create_task_group, to_thread
from anyio.abc import TaskGroup

from chicory.errors import ProcessDiedError
from chicory.logs import unfailing
from chicory.memory import MEBIBYTE
from chicory.processes import wire
from chicory.processes.child import Child, Reports
from chicory.processes.forwarding import levels
from chicory.processes.wire import Call, Outcome, Prepare

GETTING_READY = 60.0
"""Seconds in which a process must have imported its tasks."""
WEIGHING = 0.05
"""Seconds between looks at the memory of processes that run a task with a limit."""
GRACE = 1.0
"""Seconds that idle processes get to end, at the end of their worker or where one is replaced."""

logger = unfailing("chicory.worker")


class Crew:
    """Runs calls, each in a process that runs no other meanwhile.

    How many run at once is the caller's business; there are never more processes than that.

    Args:
        group: where processes are tended.
        modules: those that each process imports before its first call.
    """

    def __init__(self, group: TaskGroup, modules: Sequence[str]) -> None:
        self._group = group
        self._context = contextvars.copy_context()  # not that of the call that needs a process
        self._modules = sorted(set(modules))
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._waiting: deque[_Place] = deque()
        self._starting = 0
        self._limits: dict[Child, int] = {}
        self._is_weighing = False
        self._threads = CapacityLimiter(math.inf)

    @property
    def pids(self) -> list[int]:
        """The processes that there are."""
        return [child.pid for child in self._children]

    async def hire(self, limit: int | None = None) -> Child:
        """A process that waits for a call; to be given to ``dismiss`` after it.

        ``limit`` is the memory, in MiB, of which it may use half already for nothing.

        Raises ``ProcessDiedError`` where it ended before it was ready.
        """
        while self._idle:
            child = self._idle.pop()  # the warmest
            if child.is_there() and not (limit and _is_bloated(child, limit)):
                return child
            self._begin(partial(self._see_off, child))
        place = _Place()
        self._waiting.append(place)
        if self._starting < len(self._waiting):  # else one starts whose call has got another
            self._start_soon()
        try:
            await place.taken.wait()
        except BaseException:
            if place.child is not None:
                self.dismiss(place.child)
            else:
                self._waiting.remove(place)
            raise
        if place.child is None:
            raise ProcessDiedError(place.why)
        return place.child

    def dismiss(self, child: Child) -> None:
        """Take it back: for the call that waits longest, or for one to come."""
        if not child.is_alive:
            return
        if self._waiting:
            self._waiting.popleft().give(child)
        else:
            self._idle.append(child)

    async def run(
        self, child: Child, call: Call, reports: Reports | None, limit: int | None
    ) -> Outcome:
        """Have a hired process run a call; cancelled, the process is killed.

        Raises ``ProcessDiedError``.
        """
        if limit is not None:
            self._limits[child] = limit
            if not self._is_weighing:  # the last one may not have seen yet that it may end
                self._is_weighing = True
                self._begin(self._weigh)
        try:
            return await child.perform(call, reports)
        except ProcessDiedError:
            raise
        except BaseException:
            child.kill()
            raise
        finally:
            self._limits.pop(child, None)

    async def close(self) -> None:
        """End all processes; none is left afterwards. The group that tends them has ended."""
        for child in self._children:
            child.hang_up()
        if self._children:
            try:
                await to_thread.run_sync(self._bury, limiter=self._threads)
            except RuntimeError:  # the interpreter ends, and starts no thread any more
                self._bury()

    def _bury(self) -> None:
        ends = time.monotonic() + GRACE
        while self._children:
            self._children.pop().bury(max(0.0, ends - time.monotonic()))

    # -- starting -------------------------------------------------------------------------

    def _start_soon(self) -> None:
        self._starting += 1
        self._begin(self._raise)

    def _begin(self, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._group.create_task(duty(), name="chicory process", context=self._context.copy())

    async def _raise(self) -> None:
        """Start a process and tend it for all its life."""
        try:
            first = wire.frame(Prepare(_path(), self._modules, levels()))
            child = await self._bear()
        except Exception as error:  # noqa: BLE001  (other tasks go on without it)
            self._started(None, f"its process cannot be started: {error}")
            return
        async with create_task_group() as group:
            group.start_soon(self._welcome, child)
            await child.tend(first)
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)

    async def _bear(self) -> Child:
        child = Child()
        self._children.add(child)
        try:
            await to_thread.run_sync(child.start, limiter=self._threads)
        except Exception:
            self._children.discard(child)
            child.bury()
            raise
        return child

    async def _welcome(self, child: Child) -> None:
        with anyio.move_on_after(GETTING_READY):
            await child.ready.wait()
        if not child.is_ready:
            child.kill(f"was not ready within {GETTING_READY:g} s")
            await child.ready.wait()
        self._started(child, f"{child.epitaph()} before it was ready")

    async def _see_off(self, child: Child) -> None:
        """Have it end, whatever threads its tasks have left in it."""
        child.hang_up()
        with anyio.move_on_after(GRACE):
            await child.gone.wait()
        child.kill()

    def _started(self, child: Child | None, why: str) -> None:
        self._starting -= 1
        if child is not None and child.is_ready:
            logger.debug("process %d is ready for tasks", child.pid)
            self.dismiss(child)
        elif len(self._waiting) > self._starting:
            self._waiting.popleft().refuse(why)

    # -- memory ---------------------------------------------------------------------------

    async def _weigh(self) -> None:
        while self._limits:
            for child, limit in list(self._limits.items()):
                if child.memory > limit * MEBIBYTE:
                    child.kill(f"went over its memory limit of {limit} MiB")
            await anyio.sleep(WEIGHING)
        self._is_weighing = False


class _Place:
    """Somebody who waits for a process."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.why = ""
        self.taken = Event()

    def give(self, child: Child) -> None:
        self.child = child
        self.taken.set()

    def refuse(self, why: str) -> None:
        self.why = why
        self.taken.set()


def _path() -> list[bytes]:
    """``sys.path``, but for what an import passes over."""
    entries: list[Any] = sys.path
    return [os.fsencode(entry) for entry in entries if isinstance(entry, str)]


def _is_bloated(child: Child, limit: int) -> bool:
    """Whether earlier tasks have left it with less than half of what the next one may use."""
    return child.memory - child.idle_memory > (limit * MEBIBYTE - child.idle_memory) / 2
