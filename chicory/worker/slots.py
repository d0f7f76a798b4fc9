"""A fixed set of slots that run attempts: long-lived tasks that take from one shared queue.

Starting a task, a limiter and a deadline for each call would cost five times what a slot does.
A slot keeps one cancel scope for its life, whose deadline moves with each call. It retires, and
a fresh one takes its place, after a call that was cancelled or that left context variables
changed; so no call sees what another one left behind.
"""

from __future__ import annotations

import contextvars
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
from anyio import CancelScope, Event
from anyio.abc import TaskGroup

from chicory.outcome import Ending, GivenBack, Raised, Returned
from chicory.worker.attempt import Attempt, timed_out

FAIRNESS = 0.002
"""Seconds that calls which never wait may keep the event loop from everybody else."""


class Slots:
    """At most ``limit`` attempts at once; ``finish(attempt)`` is called for each one pushed.

    ``run(attempt)`` must set ``attempt.ending`` unless it is cancelled.
    """

    def __init__(
        self,
        group: TaskGroup,
        limit: int,
        run: Callable[[Attempt], Awaitable[None]],
        finish: Callable[[Attempt], None],
    ) -> None:
        self.limit = limit
        self.running: set[Attempt] = set()
        self.queue: deque[Attempt] = deque()
        self._group = group
        self._run = run
        self._finish = finish
        self._context = contextvars.copy_context()
        self._parked: list[Event] = []
        self._alive = 0

    @property
    def free(self) -> int:
        """Slots that neither run nor are about to run an attempt."""
        return max(0, self.limit - len(self.running) - len(self.queue))

    def push(self, attempts: list[Attempt]) -> None:
        """Run these in turn, as slots become free."""
        self.queue.extend(attempts)
        self._wake(len(attempts))

    def take_back(self) -> list[Attempt]:
        """Remove and return the attempts that have not begun."""
        waiting = list(self.queue)
        self.queue.clear()
        return waiting

    def stop_all(self, ending: Ending) -> None:
        """Stop what runs; each will have ended this way."""
        for attempt in list(self.running):
            attempt.stop(ending)

    def _wake(self, count: int) -> None:
        while count and self._parked:
            self._parked.pop().set()
            count -= 1
        while count and self._alive < self.limit:
            self._alive += 1
            self._group.create_task(self._slot(), name="chicory slot", context=self._context.copy())
            count -= 1

    async def _slot(self) -> None:
        attempt: Attempt | None = None
        scope = CancelScope()
        woken = time.monotonic()
        try:
            with scope:
                if _ending():
                    return
                while True:
                    if not self.queue:
                        await self._park()
                        woken = time.monotonic()
                        continue
                    attempt = self.queue.popleft()
                    attempt.scope = scope
                    self.running.add(attempt)
                    await self._guarded(attempt, scope)
                    if attempt.timed or attempt.abort is not None:
                        if scope.cancel_called:  # it swallowed the cancellation: still stopped
                            break
                        scope.deadline = math.inf
                    done, attempt = attempt, None
                    self._report(done)
                    if contextvars.copy_context() != self._context:
                        break
                    if self.queue and time.monotonic() - woken > FAIRNESS:
                        await anyio.lowlevel.checkpoint()
                        woken = time.monotonic()
        finally:
            self._alive -= 1
            if attempt is not None:
                self._report_stopped(attempt, scope)
            if self.queue and not _ending():
                self._wake(1)

    async def _park(self) -> None:
        event = Event()
        self._parked.append(event)
        try:
            await event.wait()
        finally:
            if event in self._parked:
                self._parked.remove(event)

    async def _guarded(self, attempt: Attempt, scope: CancelScope) -> None:
        try:
            await self._run(attempt)
        except anyio.get_cancelled_exc_class():
            if scope.cancel_called or anyio.current_effective_deadline() == -math.inf:
                raise
            # asyncio only: the task, or a library of its, cancelled the asyncio task it runs in
            attempt.ending = Raised(RuntimeError(f"{attempt.name} cancelled its own asyncio task"))
        except BaseException as error:  # noqa: BLE001  (a worker never dies of one bad task)
            if scope.cancel_called:
                return
            attempt.ending = Raised(error)

    def _report(self, attempt: Attempt) -> None:
        self.running.discard(attempt)
        attempt.scope = None
        self._finish(attempt)

    def _report_stopped(self, attempt: Attempt, scope: CancelScope) -> None:
        if attempt.abort is not None:
            if not isinstance(attempt.ending, Returned):  # it had finished all the same
                attempt.ending = attempt.abort
        elif scope.cancel_called and attempt.timed:
            attempt.ending = timed_out(attempt)
        else:  # the whole worker is being cancelled
            attempt.ending = GivenBack()
        self._report(attempt)


def _ending() -> bool:
    """Whether the task group is cancelled, or what is around it: nothing is to begin then."""
    return anyio.current_effective_deadline() == -math.inf
