"""A shift: one run of a worker, from its first fetch to its last settlement."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import anyio

from chicory.logs import unfailing
from chicory.outcome import GivenBack
from chicory.transport import Receipt, Vouching
from chicory.worker.attempt import Attempt
from chicory.worker.intake import Intake
from chicory.worker.plan import Post
from chicory.worker.reports import Reports
from chicory.worker.tally import Tally
from chicory.worker.workbench import Workbench

FAREWELL = 10.0
"""Seconds that a stopping worker waits for a broker, or a cancelled task, that does not answer."""

logger = unfailing("chicory.worker")


class Shift:
    """Fetches, runs and settles at its post.

    ``retire(why)`` is called, perhaps more than once, when it is time to end by itself.

    Attributes:
        bench: what is fetched, and comes to an end.
        intake: what fetches.
    """

    def __init__(self, post: Post, tally: Tally, retire: Callable[[str], None]) -> None:
        self._post = post
        self._patience = anyio.CancelScope()
        self._allowed = 0.0
        self._reports = Reports(post)
        self.bench = Workbench(post, tally, self._reports, retire)
        exhausted = partial(retire, "the queues are empty") if post.plan.burst else None
        self.intake = Intake(post.transports[0], post.plan.rota, self.bench, exhausted)

    def begin(self) -> None:
        """Work, in the background, until the task group is cancelled."""
        start = self._post.group.start_soon
        start(self.bench.custody.settler.run)
        start(self.intake.run)
        start(self._reports.run)
        if not self._post.plan.burst:  # which ends when nothing is due
            start(self.bench.quotas.run, self.bench.give_back_for)

    @property
    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        return list(self.bench.slots.running)

    @property
    def held(self) -> dict[Receipt, Attempt]:
        """Everything that is leased, by receipt; changed on the event loop only."""
        return self.bench.custody.held

    def starving(self, seconds: float) -> tuple[str, ...]:
        """The queues, if for that long there was room, and no fetch was answered or vouched for."""
        since = self.intake.hungry_since
        if not since or time.monotonic() - since < seconds:
            return ()
        broker = self._post.transports[0]
        is_vouched_for = isinstance(broker, Vouching) and broker.vouches()
        return () if is_vouched_for else self._post.plan.rota.names

    # -- the end --------------------------------------------------------------------------

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109  (then it gives back)
        """Fetch no more, give back what has not begun, let the rest finish within ``timeout``."""
        self._fetch_no_more()
        logger.info(
            "worker %s: consumes no more, waits for %d tasks",
            self._post.worker_id,
            len(self.running),
        )
        self.allow(timeout)
        with self._patience:
            await self._until_idle()
        if not self.running:
            logger.info("worker %s: no task runs any more", self._post.worker_id)
        else:
            logger.warning(
                "giving back %d tasks that did not finish within %g s",
                len(self.running),
                self._allowed,
            )

    def allow(self, timeout: float) -> None:
        """Have what is being drained finish within ``timeout``, counted from now."""
        self._allowed = timeout
        self._patience.deadline = anyio.current_time() + timeout

    async def end(self) -> None:
        """Wait for what was cancelled with the task group, and for the broker, but not for long."""
        self._fetch_no_more()
        farewell = self._post.farewell
        farewell.begin(FAREWELL)
        with farewell.shield():
            # for those that are being acknowledged before they run
            await self.bench.custody.settler.drain()
            await self._until_idle()
        for attempt in self.running:
            logger.error(
                "%s does not end although it was cancelled, which keeps its worker "
                "from ending; it is given back",
                attempt,
                extra=attempt.labels,
            )
            self.bench.conclude(attempt, GivenBack())
        if self.running:  # the task group will not end by itself
            farewell.begin(FAREWELL)
            await self.close()

    def _fetch_no_more(self) -> None:
        self.intake.stop()
        self.bench.give_back_all()

    async def _until_idle(self) -> None:
        while self.running:
            await self.bench.motion.wait()

    async def close(self) -> None:
        """Make durable what has come to an end."""
        with self._post.farewell.shield():
            await self.bench.custody.settler.drain()
        await self._reports.close()
        if self.bench.unsettled:
            logger.error(
                "the broker does not answer: %d outcomes are lost, their tasks run again",
                self.bench.unsettled,
            )

    async def dismiss(self) -> None:
        """End the processes that have run tasks; the task group has ended."""
        await self.bench.close()
