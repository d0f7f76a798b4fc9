"""A shift: one run of a worker, from its first fetch to its last settlement."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import anyio
from anyio import Event
from anyio.abc import TaskGroup

from chicory.app import Chicory
from chicory.config import WorkerConfig
from chicory.outcome import DeathReason, Ending, GivenBack, Refused, Stopped, describe, suspect
from chicory.processes.crew import Crew
from chicory.transport import Delivery, Done, Receipt, Settled, Settlement, Transport
from chicory.worker.attempt import Attempt
from chicory.worker.farewell import Farewell
from chicory.worker.intake import Intake
from chicory.worker.performance import Performance
from chicory.worker.preparation import Preparation, at_most_once
from chicory.worker.quarantine import Quarantine
from chicory.worker.quotas import Quotas
from chicory.worker.reports import Reports
from chicory.worker.rota import Rota
from chicory.worker.settlements import Clerk
from chicory.worker.settler import Settler
from chicory.worker.slots import Slots
from chicory.worker.tally import Tally

FAREWELL = 10.0
"""Seconds that a stopping worker waits for a broker, or a cancelled task, that does not answer."""

logger = logging.getLogger("chicory.worker")


class Shift:
    """Fetches, runs and settles with open transports, in a task group of its worker's.

    ``retire(why)`` is called, perhaps more than once, when it is time to end by itself.

    Attributes:
        held: everything that is leased, by receipt; changed on the event loop only.
        tally: what the attempts came to.
    """

    def __init__(
        self,
        app: Chicory,
        config: WorkerConfig,
        worker_id: str,
        rota: Rota,
        transports: Sequence[Transport],
        group: TaskGroup,
        tally: Tally,
        retire: Callable[[str], None],
        *,
        burst: bool,
        in_place: bool,
    ) -> None:
        self.held: dict[Receipt, Attempt] = {}
        self.tally = tally
        self._name = worker_id
        self._now = app.clock.now
        self._max_crashes = config.max_crashes
        self._max_tasks = config.max_tasks or math.inf
        self._retire = retire
        self._queues = rota.names
        self._quarantine = Quarantine()
        self._idle: Event | None = None
        self._farewell = Farewell()
        ttl, stores = app.result_ttl, app.backend_link is not None
        self._reports = Reports(transports[-1], ttl, self._farewell, self._now)
        report = self._reports.add if stores else None
        modules = {
            name: task.function.__module__
            for name, task in app.tasks.items()
            if task.executor == "process" and not in_place
        }
        self._crew = Crew(group, list(modules.values())) if modules else None
        apart = frozenset(modules)
        self._preparation = Preparation(app.tasks, config, self._now, app.seal, apart)
        max_size = min(app.config.max_message_size, *(one.abilities.max_size for one in transports))
        self._performance = Performance(
            worker_id, self._now, report, self._crew, config.max_process_memory, max_size
        )
        self._clerk = Clerk(
            worker_id,
            dead_letters=config.use_dead_letter_queue,
            stores=stores,
            result_ttl=ttl,
            max_size=max_size,
            seal=app.seal,
        )
        results = transports[1] if len(transports) > 1 else None
        self._settler = Settler(
            transports[0],
            results,
            self._farewell,
            self._now,
            self._answered,
            self._reports.hurry,
        )
        self._slots = Slots(group, config.concurrency, self._run, self._finish)
        self._quotas = Quotas(app.tasks, config, self._slots.resume)
        self._intake = Intake(
            transports[0],
            rota,
            self._slots,
            self._quarantine,
            self._accept,
            self._give_back,
            lambda: self._settler.backlog,
            lambda: len(self._quotas),
            (lambda: retire("the queues are empty")) if burst else None,
        )
        group.start_soon(self._settler.run)
        group.start_soon(self._intake.run)
        group.start_soon(self._reports.run)
        if not burst:  # which ends when nothing is due
            group.start_soon(self._quotas.run, self._give_back_for)

    @property
    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        return list(self._slots.running)

    # -- the life of a delivery -----------------------------------------------------------

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        now = time.monotonic()
        attempts = [Attempt(delivery, now) for delivery in deliveries]
        for attempt in attempts:
            self.held[attempt.delivery.receipt] = attempt
            if attempt.delivery.cancel_requested:
                attempt.stop(Stopped())
        self.tally.fetched += len(attempts)
        suspects = [attempt for attempt in attempts if self._is_suspect(attempt)]
        if suspects:
            self._slots.push([attempt for attempt in attempts if attempt not in suspects])
            self._set_apart(suspects, now)
        else:
            self._slots.push(attempts)
            self._quarantine.clear()

    def _set_apart(self, suspects: Sequence[Attempt], now: float) -> None:
        for attempt in suspects:
            if not self._quarantine.admit(attempt):
                pause = self._quarantine.pause(now)
                self._conclude(attempt, GivenBack(self._now() + pause if pause else 0.0))
        self._slots.push(self._quarantine.begin(now))

    def _is_suspect(self, attempt: Attempt) -> bool:
        return attempt.abort is None and suspect(attempt.delivery.deliveries, self._max_crashes)

    async def _run(self, attempt: Attempt) -> None:
        if attempt.quotas:  # it comes back from where it waited for its turn
            self._preparation.look_again(attempt)
        else:
            self._preparation.prepare(attempt)
            if attempt.ending is None and not self._quotas.admit(attempt):
                return
        if attempt.ending is None and at_most_once(attempt):
            await self._acknowledge(attempt)
        if attempt.ending is None:
            await self._performance.perform(attempt)

    async def _acknowledge(self, attempt: Attempt) -> None:
        attempt.on_settled = Event()
        self._settler.add(attempt, Done(attempt.delivery.receipt))
        # whether it is acknowledged decides what a stop means: so a stop waits for it
        with self._farewell.shield():
            await attempt.on_settled.wait()
        if not attempt.acknowledged:
            attempt.ending = GivenBack()

    def _finish(self, attempt: Attempt) -> None:
        assert attempt.ending is not None
        self._conclude(attempt, attempt.ending)
        self._intake.moved()
        if self._idle is not None and not self._slots.running:
            self._idle.set()

    def _conclude(self, attempt: Attempt, ending: Ending) -> None:
        if attempt.concluded:
            return
        attempt.concluded = True
        attempt.ending = ending
        self._quarantine.ended(attempt)
        self._quotas.leave(attempt)
        now = self._now()
        try:
            verdict, settlement = self._clerk.conclude(attempt, now)
        except Exception as error:
            # exceptions, filters and countdowns are of the user's making
            logger.exception(
                "task %s: what it came to cannot be told", attempt.name, extra=attempt.labels
            )
            attempt.ending = Refused(DeathReason.FAILED, describe(error).message)
            verdict, settlement = self._clerk.conclude(attempt, now)
        self.tally.count(attempt, verdict, now)
        self._settler.add(attempt, settlement)
        if self.tally.processed >= self._max_tasks:
            self._retire(f"{self._max_tasks} tasks are done")

    def _answered(self, attempt: Attempt, settled: Settled) -> None:
        self.held.pop(attempt.delivery.receipt, None)
        self._intake.settled()
        if self._quarantine.left(attempt):
            self._slots.push(self._quarantine.begin(time.monotonic()))
        if attempt.on_settled is not None:
            attempt.acknowledged = settled is Settled.SETTLED
            attempt.on_settled.set()
            attempt.on_settled = None
            if not attempt.acknowledged:
                self.tally.leases_lost += 1
                logger.warning(
                    "task %s (%s): its lease was lost before it began, it is not run here",
                    attempt.name,
                    attempt.delivery.task_id,
                    extra=attempt.labels,
                )
        elif settled is Settled.FENCED and not isinstance(attempt.ending, GivenBack):
            self.tally.leases_lost += 1
            logger.warning(
                "task %s (%s): its lease was lost meanwhile, its outcome here does not count",
                attempt.name,
                attempt.delivery.task_id,
                extra=attempt.labels,
            )

    # -- the end --------------------------------------------------------------------------

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109  (then it gives back)
        """Fetch no more, give back what has not begun, let the rest finish within ``timeout``."""
        self._intake.stop()
        self._give_back_all()
        running = len(self._slots.running)
        logger.info("worker %s: consumes no more, waits for %d tasks", self._name, running)
        with anyio.move_on_after(timeout):
            await self._until_idle()
        if not self._slots.running:
            logger.info("worker %s: no task runs any more", self._name)
        else:
            logger.warning(
                "giving back %d tasks that did not finish within %g s",
                len(self._slots.running),
                timeout,
            )

    async def end(self) -> None:
        """Wait for what was cancelled with the task group, and for the broker, but not for long."""
        self._intake.stop()
        self._give_back_all()
        self._farewell.begin(FAREWELL)
        with self._farewell.shield():
            await self._settler.drain()  # for those that are being acknowledged before they run
            await self._until_idle()
        for attempt in self.running:
            logger.error(
                "task %s (%s) does not end although it was cancelled, which keeps its worker "
                "from ending; it is given back",
                attempt.name,
                attempt.delivery.task_id,
                extra=attempt.labels,
            )
            self._conclude(attempt, GivenBack())
        if self.running:  # the task group will not end by itself
            self._farewell.begin(FAREWELL)
            await self.close()

    async def _until_idle(self) -> None:
        while self._slots.running:
            self._idle = Event()
            await self._idle.wait()

    async def close(self) -> None:
        """Make durable what has come to an end."""
        with self._farewell.shield():
            await self._settler.drain()
        await self._reports.close()
        if self._settler.backlog:
            logger.error(
                "the broker does not answer: %d outcomes are lost, their tasks run again",
                self._settler.backlog,
            )

    async def dismiss(self) -> None:
        """End the processes that have run tasks; the task group has ended."""
        if self._crew is not None:
            await self._crew.close()

    def _give_back_all(self) -> None:
        # first those that wait aside: what waits for a slot has a place that they would take
        for attempt in self._quotas.take_back():
            self._conclude(attempt, GivenBack())
        self._give_back()

    def _give_back_for(self, attempt: Attempt, seconds: float) -> None:
        self._conclude(attempt, GivenBack(self._now() + seconds))

    def _give_back(self) -> None:
        for attempt in (*self._slots.take_back(), *self._quarantine.take_back()):
            self._conclude(attempt, GivenBack())

    def bequeath(self) -> list[tuple[Attempt, Settlement]]:
        """All that is held, as it is to be settled by somebody else, to whom it is left.

        For another thread, where the event loop is blocked and the process will end: what has not
        ended is given back.
        """
        left = self._settler.unsettled
        for attempt in list(self.held.values()):
            if attempt.concluded:
                continue
            logger.error(
                "task %s (%s) does not end: it is given back",
                attempt.name,
                attempt.delivery.task_id,
                extra=attempt.labels,
            )
            attempt.concluded, attempt.ending = True, GivenBack()
            left.append((attempt, self._clerk.conclude(attempt, self._now())[1]))
        return left

    # -- orders of the keeper -------------------------------------------------------------

    def lost(self, receipt: Receipt) -> None:
        """The lease is gone: stop the attempt, whose outcome could not be settled."""
        attempt = self.held.get(receipt)
        if attempt is not None and attempt.on_settled is not None:
            return  # acknowledged perhaps, which also ends a lease: the answer says so
        if attempt is not None and attempt.ending is None:
            self.tally.leases_lost += 1
            logger.warning(
                "task %s (%s): its lease is lost, stopping it",
                attempt.name,
                attempt.delivery.task_id,
                extra=attempt.labels,
            )
            self._stop(attempt, GivenBack())

    def cancel(self, receipt: Receipt) -> None:
        """The call was cancelled by request: stop it."""
        attempt = self.held.get(receipt)
        if attempt is not None:
            self._stop(attempt, Stopped())

    def _stop(self, attempt: Attempt, ending: Ending) -> None:
        attempt.stop(ending)
        if attempt.aside_since:
            self._conclude(attempt, ending)

    def starving(self, seconds: float) -> tuple[str, ...]:
        """The queues, if for that long there was room and no fetch was answered."""
        since = self._intake.hungry_since
        return self._queues if since and time.monotonic() - since >= seconds else ()

    def doubt_from(self, moment: float) -> None:
        """Leases that the event loop has not heard of then may be over, unless it says ``trust``.

        ``moment``: monotonic seconds. To be called from any thread.
        """
        self._intake.doubt_from(moment)

    def trust(self) -> None:
        """The event loop goes on."""
        self._intake.trust()

    def refetch(self) -> None:
        """Fetch anew: the fetch under way is deaf."""
        self._intake.interrupt()
