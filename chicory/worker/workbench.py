"""Where attempts wait, run, and are set apart, until they are concluded."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence

from chicory.outcome import Ending, GivenBack, Stopped, suspect
from chicory.transport import Delivery, Receipt
from chicory.worker.attempt import Attempt
from chicory.worker.custody import Custody
from chicory.worker.motion import Motion
from chicory.worker.performance import Performance
from chicory.worker.plan import Post
from chicory.worker.preparation import Preparation
from chicory.worker.quarantine import Quarantine
from chicory.worker.quotas import Quotas
from chicory.worker.reports import Reports
from chicory.worker.slots import Slots
from chicory.worker.tally import Tally


class Workbench:
    """Takes what was fetched through the life of a delivery.

    ``retire(why)`` is called, perhaps more than once, when all the tasks are done that it may do.

    Attributes:
        motion: tells that something has moved here.
        custody: what is held.
        slots: where attempts run, and wait for that.
        quotas: where they wait for what else they need.
        quarantine: where those are that may be about to kill their worker.
    """

    def __init__(
        self, post: Post, tally: Tally, reports: Reports, retire: Callable[[str], None]
    ) -> None:
        self.motion = Motion()
        self.custody = Custody(post, tally, reports.hurry, self._left)
        self.slots = Slots(post.group, post.config.concurrency, self._begin, self._finish)
        self.quotas = Quotas(post.app.tasks, post.config, self.slots.resume)
        self.quarantine = Quarantine()
        self._preparation = Preparation(post)
        self._performance = Performance(post, reports)
        self._now = post.now
        self._max_crashes = post.config.max_crashes
        self._max_tasks = post.config.max_tasks or math.inf
        self._tally = tally
        self._retire = retire

    @property
    def is_busy(self) -> bool:
        """Whether anything runs, waits, or is not durable yet."""
        slots = self.slots
        return bool(slots.running or slots.queue or len(self.quotas) or self.unsettled)

    @property
    def unsettled(self) -> int:
        """Outcomes that are not durable yet."""
        return self.custody.settler.backlog

    @property
    def allowance(self) -> float:
        """How many more may begin beside those that are here, before all that it may do is done."""
        here = (self.slots.running, self.slots.queue, self.quotas, self.quarantine.take_back())
        return self._max_tasks - self._tally.processed - sum(map(len, here))

    async def close(self) -> None:
        """End the processes that have run tasks; the task group has ended."""
        await self._performance.close()

    # -- the life of a delivery -----------------------------------------------------------

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with what was fetched, as soon as there is room."""
        attempts = self.custody.take(deliveries)
        suspects: list[Attempt] = []
        for attempt in attempts:
            if attempt.delivery.cancel_requested:
                attempt.stop(Stopped())
            elif suspect(attempt.delivery.deliveries, self._max_crashes):
                suspects.append(attempt)
        if suspects:
            self.slots.push([attempt for attempt in attempts if attempt not in suspects])
            self._set_apart(suspects, time.monotonic())
        else:
            self.slots.push(attempts)
            self.quarantine.clear()

    def _set_apart(self, suspects: Sequence[Attempt], now: float) -> None:
        for attempt in suspects:
            if not self.quarantine.admit(attempt):
                pause = self.quarantine.pause(now)
                self.conclude(attempt, GivenBack(self._now() + pause if pause else 0.0))
        self.slots.push(self.quarantine.begin(now))

    def _begin(self, attempt: Attempt) -> Awaitable[None] | None:
        """What is to be awaited, unless it has ended already, or waits for its turn."""
        if attempt.quotas:  # it comes back from where it waited for its turn
            self._preparation.look_again(attempt)
        else:
            self._preparation.prepare(attempt)
            if attempt.ending is None and not self.quotas.admit(attempt):
                return None
        if attempt.ending is not None:
            return None
        if attempt.task is not None and attempt.task.at_most_once:
            return self._once(attempt)
        return self._performance.perform(attempt)

    async def _once(self, attempt: Attempt) -> None:
        await self.custody.acknowledge(attempt)
        if attempt.ending is None:
            await self._performance.perform(attempt)

    def _finish(self, attempt: Attempt) -> None:
        assert attempt.ending is not None
        self.conclude(attempt, attempt.ending)
        self.motion.finish()

    def conclude(self, attempt: Attempt, ending: Ending) -> None:
        """It has come to an end, if it has not already: settle that, and let others in."""
        if attempt.concluded:
            return
        self.quarantine.ended(attempt)
        if attempt.quotas or attempt.aside_since:
            self.quotas.leave(attempt)
        self.custody.settle(attempt, ending)
        if self._tally.processed >= self._max_tasks:
            self._retire(f"{self._max_tasks} tasks are done")

    def _left(self, attempts: Sequence[Attempt]) -> None:
        self.motion.tell()
        if self.quarantine.left(attempts):
            self.slots.push(self.quarantine.begin(time.monotonic()))

    # -- back to the queue ----------------------------------------------------------------

    def give_back(self) -> None:
        """What has not begun, and waits for nothing but that."""
        for attempt in (*self.slots.take_back(), *self.quarantine.take_back()):
            self.conclude(attempt, GivenBack())

    def give_back_all(self) -> None:
        """What has not begun."""
        # first those that wait aside: what waits for a slot has a place that they would take
        for attempt in self.quotas.take_back():
            self.conclude(attempt, GivenBack())
        self.give_back()

    def give_back_for(self, attempt: Attempt, seconds: float) -> None:
        """This one, which is not to come again before so many seconds are over."""
        self.conclude(attempt, GivenBack(self._now() + seconds))

    # -- orders of the keeper -------------------------------------------------------------

    def lost(self, receipt: Receipt) -> None:
        """The lease is gone: stop the attempt, whose outcome could not be settled."""
        attempt = self.custody.held.get(receipt)
        if attempt is not None and attempt.on_settled is not None:
            return  # acknowledged perhaps, which also ends a lease: the answer says so
        if attempt is not None and isinstance(attempt.abort, GivenBack):
            return  # it was stopped so before, and takes long to end
        if attempt is not None and attempt.ending is None:
            self.custody.lose(attempt, "its lease is lost, stopping it")
            self._stop(attempt, GivenBack())

    def cancel(self, receipt: Receipt) -> None:
        """The call was cancelled by request: stop it."""
        attempt = self.custody.held.get(receipt)
        if attempt is not None:
            self._stop(attempt, Stopped())

    def _stop(self, attempt: Attempt, ending: Ending) -> None:
        attempt.stop(ending)
        if attempt.aside_since:
            self.conclude(attempt, ending)
