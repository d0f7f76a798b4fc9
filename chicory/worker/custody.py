"""What a worker holds, from its fetch until what it came to is durable."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from anyio import Event

from chicory.logs import unfailing
from chicory.outcome import Ending, GivenBack, undecided
from chicory.transport import Delivery, Done, Receipt, Settled, Settlement
from chicory.worker.attempt import Attempt
from chicory.worker.plan import Post
from chicory.worker.settlements import Clerk
from chicory.worker.settler import Item, Settler
from chicory.worker.tally import Tally

logger = unfailing("chicory.worker")


class Custody:
    """Takes deliveries, and settles what becomes of them, each once.

    Attributes:
        held: everything that is leased, by receipt; changed on the event loop only.
        settler: sends what is to be settled.
        heard_at: monotonic seconds of the broker's last answer to a fetch or a settlement.

    Args:
        post: where the worker works.
        tally: told of every attempt.
        before: awaited with the ids of calls that are about to be settled.
        left: called with attempts that are held no more.
    """

    def __init__(
        self,
        post: Post,
        tally: Tally,
        before: Callable[[Collection[str]], Awaitable[None]],
        left: Callable[[Sequence[Attempt]], None],
    ) -> None:
        self.held: dict[Receipt, Attempt] = {}
        self.heard_at = -math.inf
        self.settler = Settler(
            post.transports[0], post.results, post.farewell, post.now, self._answered, before
        )
        self._farewell = post.farewell
        self._now = post.now
        self._clerk = Clerk(post)
        self._tally = tally
        self._left = left

    def take(self, deliveries: Sequence[Delivery]) -> list[Attempt]:
        """Hold what was fetched."""
        now, held = time.monotonic(), self.held
        self.heard_at = now
        attempts = [Attempt(delivery, now) for delivery in deliveries]
        for attempt in attempts:
            held[attempt.delivery.receipt] = attempt
        self._tally.fetched += len(attempts)
        return attempts

    async def acknowledge(self, attempt: Attempt) -> None:
        """Settle it before it runs; its ending is set where it must not run here any more."""
        attempt.on_settled = Event()
        self.settler.add(attempt, Done(attempt.delivery.receipt))
        # whether it is acknowledged decides what a stop means: so a stop waits for it
        with self._farewell.shield():
            await attempt.on_settled.wait()
        attempt.ending = attempt.abort if attempt.acknowledged else GivenBack()

    def settle(self, attempt: Attempt, ending: Ending) -> None:
        """Decide what an ending means, once, and have it made durable; does not wait."""
        attempt.concluded = True
        attempt.ending = ending
        now = self._now()
        try:
            verdict, settlement = self._clerk.conclude(attempt, now)
        except (Exception, SystemExit) as error:
            logger.exception(
                "task %s: what it came to cannot be told", attempt.name, extra=attempt.labels
            )
            attempt.ending = undecided(error)
            verdict, settlement = self._clerk.conclude(attempt, now)
        self.settler.add(attempt, settlement)
        self._tally.count(attempt, verdict, now)

    def bequeath(self) -> list[tuple[Attempt, Settlement]]:
        """All that is held, as it is to be settled by somebody else, to whom it is left.

        For another thread, where the event loop is blocked and the process will end: what has not
        ended is given back.
        """
        left = self.settler.unsettled
        for attempt in list(self.held.values()):
            if attempt.concluded:
                continue
            logger.error("%s does not end: it is given back", attempt, extra=attempt.labels)
            attempt.concluded, attempt.ending = True, GivenBack()
            left.append((attempt, self._clerk.conclude(attempt, self._now())[1]))
        return left

    # -- answers of the broker ------------------------------------------------------------

    def _answered(self, items: Sequence[Item], answers: Sequence[Settled]) -> None:
        self.heard_at = time.monotonic()
        held, fenced = self.held, Settled.FENCED
        for (attempt, _), settled in zip(items, answers, strict=True):
            held.pop(attempt.delivery.receipt, None)
            if attempt.on_settled is not None:
                self._acknowledged(attempt, attempt.on_settled, settled)
            elif settled is fenced and not isinstance(attempt.ending, GivenBack):
                self.lose(attempt, "its lease was lost meanwhile, its outcome here does not count")
        self._left([attempt for attempt, _ in items])

    def _acknowledged(self, attempt: Attempt, awaited: Event, settled: Settled) -> None:
        attempt.acknowledged = settled is Settled.SETTLED
        attempt.on_settled = None
        awaited.set()
        if not attempt.acknowledged:
            self.lose(attempt, "its lease was lost before it began, it is not run here")

    def lose(self, attempt: Attempt, what: str) -> None:
        """Count a lease that is lost, and say what follows."""
        self._tally.leases_lost += 1
        logger.warning("%s: %s", attempt, what, extra=attempt.labels)
