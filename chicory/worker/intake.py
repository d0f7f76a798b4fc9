"""Fetching: as much as can run, and what hides one round trip; never more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import anyio
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError, ConfigurationError, QueueFullError
from chicory.logs import unfailing
from chicory.transport import Transport
from chicory.worker.freshness import Freshness
from chicory.worker.pace import MAX_FETCH, Pace
from chicory.worker.patience import Patience
from chicory.worker.rota import Rota
from chicory.worker.workbench import Workbench

MAX_UNSETTLED = 512
"""Outcomes that wait to be durable before no more is fetched: a crash would repeat their tasks."""
PROBATION = 30.0
"""Seconds within which a broker that refuses to be fetched from, and never was, ends the worker."""
HOARDING = 0.1
"""Seconds after which work that is held and makes no progress goes back to the queue."""

_TURNS = 3
"""Of the event loop, from a call's arrival to the settlement of one that ends at once."""

logger = unfailing("chicory.worker")


class Intake:
    """Keeps the workbench supplied from the queues, while it is permitted to.

    What waits there for a slot goes back when nothing moves. Where ``exhausted`` is given it does
    not wait for messages: it ends, and calls that, once there are none and all that was fetched is
    settled.

    Attributes:
        hungry_since: since when (monotonic seconds) it has had room and no fetch was answered;
            ``None`` where it has no room.
        freshness: of what a fetch brings.
        refusal: why the broker did not let it fetch when it last tried; empty where it tries.
    """

    def __init__(
        self,
        transport: Transport,
        rota: Rota,
        bench: Workbench,
        exhausted: Callable[[], None] | None = None,
    ) -> None:
        self.hungry_since: float | None = None
        self.freshness = Freshness()
        self.refusal = ""
        self._probation_ends_at: float | None = None
        self._transport = transport
        self._rota = rota
        self._bench = bench
        self._exhausted = exhausted
        self._wait = math.inf if exhausted is None else 0.0
        self._permitted = Event()
        self._stopped = False
        self._scope = CancelScope()
        self._pace = Pace()
        self._patience = Patience("fetching")

    def permit(self) -> None:
        """Fetch from now on: what is fetched can be kept."""
        self._permitted.set()

    def forbid(self) -> None:
        """Fetch no more until ``permit``; a fetch that is under way may still be answered."""
        if self._permitted.is_set():
            logger.warning("leases are not renewed: nothing is fetched until they are")
            self._permitted = Event()

    def stop(self) -> None:
        """Fetch no more."""
        self._stopped = True
        self.hungry_since = None
        self._scope.cancel()

    def interrupt(self) -> None:
        """Begin a new fetch in place of the one under way: it seems to be deaf."""
        self._scope.cancel()

    async def run(self) -> None:
        """Fetch from ``permit`` until ``stop``."""
        while not self._stopped:
            if not self._permitted.is_set():
                self.hungry_since = None
                await self._permitted.wait()
            elif (room := self._room()) > 0:
                before = self._bench.motion.finished
                with CancelScope(deadline=self._hoarding_at()) as self._scope:
                    await self._fetch(room)
                if self._scope.cancelled_caught:
                    self._stop_hoarding(before)
            else:
                await self._wait_for_room()

    async def _find_nothing(self, was_busy: bool) -> None:
        """Wait for what runs, which may bring more; when nothing does, all is done.

        What ended while the fetch was under way may have left a retry that it did not see.
        """
        if self._bench.is_busy:
            await self._wait_for_room()
        elif self._exhausted is not None and not was_busy:
            self._stopped = True
            self._exhausted()

    def _room(self) -> int:
        bench, slots = self._bench, self._bench.slots
        ahead = self._pace.ahead(bench.motion.finished)
        waiting, aside = len(slots.queue), len(bench.quotas)
        room = slots.limit - len(slots.running) + ahead - waiting - aside
        # a fetch for each task would be a trip for each task
        if ahead and waiting > ahead // 2:
            return 0
        if aside and room < max(ahead // 2, slots.limit // 4):
            return 0
        most = min(MAX_FETCH, bench.quarantine.limit(time.monotonic()))
        return int(min(most, room, MAX_UNSETTLED - bench.unsettled, bench.allowance))

    async def _fetch(self, room: int) -> None:
        self.hungry_since = self.hungry_since or time.monotonic()
        self._probation_ends_at = self._probation_ends_at or time.monotonic() + PROBATION
        was_busy, self.refusal = self._bench.is_busy, ""
        self.freshness.begin()
        try:
            deliveries = await self._transport.fetch(self._rota.order(), room, self._wait)
        except (BrokerConnectionError, QueueFullError) as error:
            await self._patience.after(error)
            return
        except ConfigurationError as error:
            if time.monotonic() < self._probation_ends_at:
                raise
            self.refusal = str(error)  # a permission, perhaps, that somebody is about to give back
            await self._patience.after(error)
            return
        self.hungry_since, self._probation_ends_at = None, -math.inf
        self._patience.over()
        self._bench.accept(deliveries)
        if self._stopped:  # it was under way when the worker was told to stop
            self._bench.give_back()
        elif deliveries and not self.freshness.is_kept:
            logger.info("the event loop stood still meanwhile: giving back what was fetched")
            self._bench.give_back()
        elif not deliveries:
            await self._find_nothing(was_busy)
        elif len(deliveries) < room:
            await self._let_begin()

    async def _let_begin(self) -> None:
        """Let what was fetched run before the next fetch, which nothing is known to wait for.

        What ends at once is then settled before the broker is asked for more, not behind it.
        """
        for _ in range(_TURNS):
            await checkpoint()

    async def _wait_for_room(self) -> None:
        self.hungry_since = None
        motion = self._bench.motion
        before = motion.finished
        hoarding_at = self._hoarding_at()
        with CancelScope(deadline=min(hoarding_at, self._quarantine_ends_at())) as patience:
            await motion.wait()
        if patience.cancelled_caught and patience.deadline == hoarding_at:
            self._stop_hoarding(before)

    def _quarantine_ends_at(self) -> float:
        until = self._bench.quarantine.until()
        return until if until == math.inf else anyio.current_time() + until - time.monotonic()

    def _hoarding_at(self) -> float:
        """From when on what is held counts as hoarded, unless something moves."""
        return anyio.current_time() + HOARDING if self._bench.slots.queue else math.inf

    def _stop_hoarding(self, finished_before: int) -> None:
        bench = self._bench
        if bench.motion.finished == finished_before and bench.slots.queue:
            self._pace.reset()
            bench.give_back()
