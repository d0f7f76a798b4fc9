"""Fetching: as much as can run, and what hides one round trip; never more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import anyio
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError, QueueFullError
from chicory.transport import Delivery, Transport
from chicory.worker.patience import Patience
from chicory.worker.quarantine import Quarantine
from chicory.worker.rota import Rota
from chicory.worker.slots import Slots

MAX_FETCH = 256
MAX_UNSETTLED = 512
"""Outcomes that wait to be durable before no more is fetched: a crash would repeat their tasks."""
HIDDEN = 0.02
"""Seconds of work to hold beyond the free slots: about the longest round trip worth hiding."""
HOARDING = 0.1
"""Seconds after which work that is held and makes no progress goes back to the queue."""

_TURNS = 3
"""Of the event loop, from a call's arrival to the settlement of one that ends at once."""

logger = logging.getLogger("chicory.worker")


class Intake:
    """Keeps the slots supplied from the queues.

    ``accept(deliveries)`` is called with what was fetched, ``give_back()`` when what waits for a
    slot should go back because nothing moves; ``aside()`` says how many more are held that wait for
    something else. Where ``exhausted`` is given it does not wait for
    messages: it ends, and calls that, once there are none and all that was fetched is settled.

    Attributes:
        hungry_since: since when (monotonic seconds) it has had room and no fetch was answered;
            ``None`` where it has no room.
    """

    def __init__(
        self,
        transport: Transport,
        rota: Rota,
        slots: Slots,
        quarantine: Quarantine,
        accept: Callable[[Sequence[Delivery]], None],
        give_back: Callable[[], None],
        unsettled: Callable[[], int],
        aside: Callable[[], int],
        exhausted: Callable[[], None] | None = None,
    ) -> None:
        self.hungry_since: float | None = None
        self._transport = transport
        self._rota = rota
        self._slots = slots
        self._quarantine = quarantine
        self._accept = accept
        self._give_back = give_back
        self._unsettled = unsettled
        self._aside = aside
        self._exhausted = exhausted
        self._wait = math.inf if exhausted is None else 0.0
        self._stopped = False
        self._is_stale = False
        self._doubtful_from = math.inf
        self._scope = CancelScope()
        self._moved: Event | None = None
        self._finished = 0
        self._pace = _Pace()
        self._patience = Patience("fetching")

    def stop(self) -> None:
        """Fetch no more."""
        self._stopped = True
        self.hungry_since = None
        self._scope.cancel()

    def interrupt(self) -> None:
        """Begin a new fetch in place of the one under way: it seems to be deaf."""
        self._scope.cancel()

    def doubt_from(self, moment: float) -> None:
        """What a fetch brings then was leased long ago, unless ``trust`` is called before.

        ``moment``: monotonic seconds. To be called from any thread.
        """
        self._doubtful_from = moment

    def trust(self) -> None:
        """The event loop goes on; has it not for long, the fetch under way is not trusted."""
        self._is_stale = self._is_doubtful()
        self._doubtful_from = math.inf

    def _is_doubtful(self) -> bool:
        # an answer that came while the loop stood still may be heard before ``trust`` is called
        return self._is_stale or time.monotonic() > self._doubtful_from

    def moved(self) -> None:
        """A slot has become free."""
        self._finished += 1
        self.settled()

    def settled(self) -> None:
        """An outcome has become durable."""
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def run(self) -> None:
        """Fetch until ``stop``."""
        while not self._stopped:
            room = self._room()
            if room > 0:
                before = self._finished
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
        if self._is_busy():
            await self._wait_for_room()
        elif self._exhausted is not None and not was_busy:
            self._stopped = True
            self._exhausted()

    def _is_busy(self) -> bool:
        return bool(self._slots.running or self._slots.queue or self._aside() or self._unsettled())

    def _room(self) -> int:
        ahead = self._pace.ahead(self._finished)
        waiting, aside = len(self._slots.queue), self._aside()
        room = self._slots.limit - len(self._slots.running) + ahead - waiting - aside
        # a fetch for each task would be a trip for each task
        if ahead and waiting > ahead // 2:
            return 0
        if aside and room < max(ahead // 2, self._slots.limit // 4):
            return 0
        most = min(MAX_FETCH, self._quarantine.limit(time.monotonic()))
        return int(min(most, room, MAX_UNSETTLED - self._unsettled()))

    async def _fetch(self, room: int) -> None:
        self.hungry_since = self.hungry_since or time.monotonic()
        was_busy = self._is_busy()
        self._is_stale = False
        try:
            deliveries = await self._transport.fetch(self._rota.order(), room, self._wait)
        except (BrokerConnectionError, QueueFullError) as error:
            await self._patience.after(error)
            return
        self.hungry_since = None
        self._patience.over()
        self._accept(deliveries)
        if self._stopped:  # it was under way when the worker was told to stop
            self._give_back()
        elif deliveries and self._is_doubtful():
            logger.info("the event loop stood still meanwhile: giving back what was fetched")
            self._give_back()
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
        before = self._finished
        moved = self._moved = Event()
        hoarding_at = self._hoarding_at()
        with CancelScope(deadline=min(hoarding_at, self._quarantine_ends_at())) as patience:
            await moved.wait()
        if patience.cancelled_caught and patience.deadline == hoarding_at:
            self._stop_hoarding(before)

    def _quarantine_ends_at(self) -> float:
        until = self._quarantine.until()
        return until if until == math.inf else anyio.current_time() + until - time.monotonic()

    def _hoarding_at(self) -> float:
        """From when on what is held counts as hoarded, unless something moves."""
        return anyio.current_time() + HOARDING if self._slots.queue else math.inf

    def _stop_hoarding(self, finished_before: int) -> None:
        if self._finished == finished_before and self._slots.queue:
            self._pace.reset()
            self._give_back()


class _Pace:
    """How many calls are finished in the time of a round trip, lately."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._rate = 0.0
        self._since = time.monotonic()
        self._finished: int | None = None

    def ahead(self, finished: int) -> int:
        now = time.monotonic()
        elapsed = now - self._since
        if self._finished is None:
            self._finished, self._since = finished, now
        elif elapsed > HIDDEN:
            rate = (finished - self._finished) / elapsed
            self._rate = rate if rate < self._rate else (self._rate + rate) / 2
            self._finished, self._since = finished, now
        return min(MAX_FETCH, int(self._rate * HIDDEN))
