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
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
from anyio import CancelScope
from anyio.abc import TaskGroup

from chicory.logs import current
from chicory.loop import Turn, cancellations, turns
from chicory.outcome import GivenBack, Raised, Returned
from chicory.worker.attempt import Attempt, timed_out

FAIRNESS = 0.005
"""Seconds that calls which never wait may keep the event loop from everybody else, all together."""
SPREAD = 2
"""Parked slots that are woken at once where calls wait; each wakes as many while there is work.

So all are awake after six turns of the event loop. But where calls end at once, one slot does the
work of all, one more stands by, and waking the others would cost more than the calls.
"""


class Slots:
    """At most ``limit`` attempts at once; ``finish(attempt)`` is called for each one pushed.

    ``begin(attempt)`` says what is to be awaited, if anything is. After that ``attempt.ending`` is
    set, unless it was cancelled or is to wait elsewhere for its turn: ``resume(attempt)`` begins it
    again.
    """

    def __init__(
        self,
        group: TaskGroup,
        limit: int,
        begin: Callable[[Attempt], Awaitable[None] | None],
        finish: Callable[[Attempt], None],
    ) -> None:
        self.limit = limit
        self.running: set[Attempt] = set()
        self.queue: deque[Attempt] = deque()
        self._group = group
        self._begin = begin
        self._finish = finish
        self._context = contextvars.copy_context()
        self._turn = turns()
        self._parked: list[Turn] = []
        self._alive = 0
        self._turn_began = 0.0
        self._giving_way = False
        self._is_reporting = False
        # asyncio only: a loop that ends cancels all its tasks at once, through no scope
        self._cancellations = cancellations()
        self._cancellations_before = self._cancellations()

    def push(self, attempts: Sequence[Attempt]) -> None:
        """Run these in turn, as slots become free."""
        if not attempts:
            return
        self.queue.extend(attempts)
        self._turn_began = time.monotonic()
        everybody = self._alive >= self.limit
        self._wake(min(self._spread, len(attempts)) if everybody else len(attempts))

    @property
    def _spread(self) -> int:
        return SPREAD if self.running else 1

    def resume(self, attempt: Attempt) -> None:
        """Run one that has waited for its turn elsewhere, before all others."""
        self.queue.appendleft(attempt)
        if not self._is_reporting:  # else the slot that reports takes it next
            self._wake(1)

    def take_back(self) -> list[Attempt]:
        """Remove and return the attempts that have not begun."""
        waiting = list(self.queue)
        self.queue.clear()
        return waiting

    def _wake(self, count: int) -> None:
        while count and self._parked:
            self._parked.pop().come()
            count -= 1
        while count and self._alive < self.limit:
            self._alive += 1
            self._group.create_task(self._slot(), name="chicory slot", context=self._context.copy())
            count -= 1

    async def _slot(self) -> None:
        slot = _Slot()
        try:
            with slot.scope:
                if not self._ending():
                    await self._serve(slot)
        except anyio.get_cancelled_exc_class():
            # asyncio only: what a call, or a library of its, cancelled is the asyncio task; only
            # this slot ends of it
            if self._ending():
                raise
        finally:
            self._alive -= 1
            if slot.attempt is not None:
                self._report_stopped(slot.attempt, slot.scope)
            if self.queue and not self._ending():
                self._wake(1)

    async def _serve(self, slot: _Slot) -> None:
        scope, strays = slot.scope, cancellations()
        while True:
            if not self.queue:
                await self._park()
                continue
            slot.attempt = attempt = self.queue.popleft()
            attempt.scope = scope
            self.running.add(attempt)
            current.set(attempt.labels)
            before = contextvars.copy_context()  # to compare with this one is to compare pointers
            try:
                running = self._begin(attempt)
                if running is not None:
                    await running
            except BaseException as error:
                if self._ends_with(attempt, error):
                    raise
            if self._was_stopped(attempt, scope):
                return
            slot.attempt = None
            self._report(attempt)
            del attempt  # nor keep its arguments while parked
            if strays():  # one that is still to come must not hit the next call
                await anyio.lowlevel.checkpoint()
                return
            if _differs(before):
                return
            if self.queue and time.monotonic() - self._turn_began > FAIRNESS:
                await self._give_way()

    async def _park(self) -> None:
        turn = self._turn()
        self._parked.append(turn)
        try:
            await turn.wait()
        finally:
            if turn in self._parked:
                self._parked.remove(turn)
        self._wake(max(0, min(self._spread, len(self.queue) - 1)))

    async def _give_way(self) -> None:
        """Let everybody else run.

        The first slot to do so begins a new turn when it goes on; the others run one call each
        until then. Did each begin a turn of its own, all slots together would take all the time.
        """
        leads = not self._giving_way
        self._giving_way = True
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            if leads:
                self._giving_way = False
                self._turn_began = time.monotonic()

    def _ends_with(self, attempt: Attempt, error: BaseException) -> bool:
        """Whether the slot ends with its attempt; a worker never dies of one bad task."""
        if isinstance(error, anyio.get_cancelled_exc_class()):
            if self._ending():
                return True
            # asyncio only: the task, or a library of its, cancelled the asyncio task it runs in
            error = RuntimeError(f"{attempt.name} cancelled its own asyncio task")
        attempt.ending = Raised(error)
        return False

    def _was_stopped(self, attempt: Attempt, scope: CancelScope) -> bool:
        """Whether it was to end before it did, also where it swallowed the cancellation."""
        has_returned = type(attempt.ending) is Returned
        # who stops a call says so in it: the scope itself would ask trio's clock each time
        if has_returned and not (attempt.abort or attempt.timed):
            return False
        if scope.cancel_called or (attempt.timed and anyio.current_time() >= scope.deadline):
            return True
        scope.deadline = math.inf
        return not has_returned and self._ending()

    def _report(self, attempt: Attempt) -> None:
        self.running.discard(attempt)
        attempt.scope = None
        if attempt.ending is not None:
            self._is_reporting = True
            try:
                self._finish(attempt)
            finally:
                self._is_reporting = False

    def _report_stopped(self, attempt: Attempt, scope: CancelScope) -> None:
        if attempt.abort is not None:
            if not isinstance(attempt.ending, Returned):  # it had finished all the same
                attempt.ending = attempt.abort
        elif attempt.timed and anyio.current_time() >= scope.deadline:
            attempt.ending = timed_out(attempt.name, attempt.limit)
        else:  # the whole worker is being cancelled
            attempt.ending = GivenBack()
        self._report(attempt)

    def _ending(self) -> bool:
        """Whether what runs here is cancelled, or all that is around it: nothing may begin then."""
        return (
            anyio.current_effective_deadline() == -math.inf
            or self._cancellations() > self._cancellations_before
        )


class _Slot:
    """What a slot runs, and how to stop it."""

    def __init__(self) -> None:
        self.scope = CancelScope()
        self.attempt: Attempt | None = None


def _differs(before: contextvars.Context) -> bool:
    """Whether a call left context variables changed."""
    try:
        return contextvars.copy_context() != before
    except Exception:  # noqa: BLE001  (what they hold is compared, and may not like it)
        return True
