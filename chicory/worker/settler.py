"""Settlement by group commit: slots drop outcomes into a buffer and go on.

While one batch is under way the next one gathers; where the transport is better at more than one
at a time, it goes as soon as it is large enough to be worth it. A batch that could not be sent is
sent again, for as long as the worker lives: settling twice is harmless, an outcome lost is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

from anyio import Event, Lock, create_task_group, get_cancelled_exc_class
from msgspec.structs import replace

from chicory.errors import (
    BrokerConnectionError,
    ChicoryError,
    ConfigurationError,
    QueueFullError,
)
from chicory.logs import unfailing
from chicory.transport import Lease, Record, Release, Retry, Settled, Settlement, Transport
from chicory.worker.attempt import Attempt
from chicory.worker.farewell import Farewell
from chicory.worker.patience import Patience
from chicory.worker.settlements import without_retry

MAX_BATCH = 128
"""More in one step would make other clients of the broker wait."""
WORTH_ANOTHER = 64
"""Outcomes that gather before they go although others are under way."""

logger = unfailing("chicory.worker")

Item = tuple[Attempt, Settlement]
Answer = Callable[[Sequence[Item], Sequence[Settled]], None]
_Step = Callable[[Sequence[Item]], Awaitable[Sequence[Settled]]]


class _Lane:
    """One batch at a time.

    Attributes:
        sending: what is under way.
        turn: held by who sends.
        wanted: what it waits for while it has nothing to do.
    """

    def __init__(self) -> None:
        self.sending: list[Item] = []
        self.turn = Lock(fast_acquire=True)
        self.wanted: Event | None = None

    def wake(self) -> None:
        if self.wanted is not None:
            self.wanted.set()
            self.wanted = None

    def sent(self, items: Sequence[Item]) -> None:
        """These are under way no more."""
        if len(items) == len(self.sending):  # as nearly always
            self.sending = []
        else:
            sent = {id(settlement) for _, settlement in items}
            self.sending = [item for item in self.sending if id(item[1]) not in sent]


class Settler:
    """Sends settlements; ``answered(items, answers)`` is called with what was.

    Args:
        transport: where the deliveries came from.
        results: where records go, if that is another server: they are stored first there, and
            the delivery is settled after.
        farewell: how long to wait for an answer once the worker ends.
        now: the app's time.
        answered: called on the event loop.
        before: awaited with the ids of calls that are about to be settled.
    """

    def __init__(
        self,
        transport: Transport,
        results: Transport | None,
        farewell: Farewell,
        now: Callable[[], float],
        answered: Answer,
        before: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        self._before = before
        self._transport = transport
        self._results = results
        self._farewell = farewell
        self._now = now
        self._answered = answered
        self._buffer: deque[Item] = deque()
        self._lanes = [_Lane() for _ in range(transport.abilities.together)]
        self._republished: set[Attempt] = set()
        self._interrupted: set[Attempt] = set()
        self._patience = Patience("settling")

    @property
    def backlog(self) -> int:
        """Outcomes that are not durable yet."""
        return len(self._buffer) + sum(len(lane.sending) for lane in self._lanes)

    @property
    def unsettled(self) -> list[tuple[Attempt, Settlement]]:
        """They themselves; from any thread."""
        return [*(item for lane in self._lanes for item in lane.sending), *self._buffer]

    def add(self, attempt: Attempt, settlement: Settlement) -> None:
        """Settle soon; does not wait."""
        self._buffer.append((attempt, settlement))
        waiting = len(self._buffer)
        if waiting == 1 or waiting % WORTH_ANOTHER == 0:
            self._wake()

    async def run(self) -> None:
        """Send what is added, until cancelled or the farewell is over."""
        first, *others = self._lanes
        async with create_task_group() as group:
            for lane in others:
                group.start_soon(self._serve, lane)
            await self._serve(first)

    async def drain(self) -> None:
        """Send until nothing is left, or the farewell is over."""
        for lane in self._lanes:
            await self._empty(lane)

    async def _serve(self, lane: _Lane) -> None:
        while not self._farewell.over:
            await self._empty(lane)
            lane.wanted = Event()
            await lane.wanted.wait()

    def _wake(self) -> None:
        """Have a lane that has nothing to do send, unless what waits is too little for one more."""
        idle = [lane for lane in self._lanes if lane.wanted is not None]
        if idle and (len(idle) == len(self._lanes) or len(self._buffer) >= WORTH_ANOTHER):
            idle[0].wake()

    async def _empty(self, lane: _Lane) -> None:
        async with lane.turn:
            while (self._buffer or lane.sending) and not self._farewell.over:
                if not lane.sending:
                    lane.sending = [
                        self._buffer.popleft() for _ in range(min(MAX_BATCH, len(self._buffer)))
                    ]
                await self._send(lane)

    async def _send(self, lane: _Lane) -> None:
        error: ChicoryError | None = None
        # a step that is under way is awaited: whether it was done must be known
        with self._farewell.shield():
            try:
                await self._send_all(lane)
            except (BrokerConnectionError, QueueFullError) as problem:
                error = problem
            except ConfigurationError as problem:
                error = problem
                self._put_back(lane)
            else:
                self._patience.over()
        if error is not None:
            await self._patience.after(error)

    async def _send_all(self, lane: _Lane) -> None:
        if self._before is not None:
            await self._before([attempt.delivery.task_id for attempt, _ in lane.sending])
        leased = [item for item in lane.sending if not item[0].acknowledged]
        acknowledged = [item for item in lane.sending if item[0].acknowledged]
        for items, step in ((leased, self._settle), (acknowledged, self._conclude)):
            if not items:
                continue
            try:
                self._tell(lane, items, await step(items))
            except (BrokerConnectionError, QueueFullError):
                raise
            except ChicoryError:
                await self._send_singly(lane, items, step)
            except get_cancelled_exc_class():  # asyncio's own, which no shield of anyio's stops
                self._interrupted.update(attempt for attempt, _ in items)
                raise

    def _put_back(self, lane: _Lane) -> None:
        """Have what is refused tried again beside others, which may be taken."""
        self._buffer.extendleft(reversed(lane.sending))
        lane.sending = []

    async def _send_singly(self, lane: _Lane, items: Sequence[Item], step: _Step) -> None:
        """One of a batch is refused: find it, so that the others do not suffer with it.

        Raises ``ConfigurationError`` where all of them are for such a reason, as where a permission
        was taken away: it may be given back, and an outcome that is lost is not.
        """
        refused: list[tuple[Item, ChicoryError]] = []
        for item in items:
            try:
                answers = await step([item])
            except (BrokerConnectionError, QueueFullError):
                raise
            except ChicoryError as error:
                refused.append((item, error))
            else:
                self._tell(lane, [item], answers)
        if len(refused) == len(items):
            for _, error in refused:
                if isinstance(error, ConfigurationError):
                    raise error
        for item, error in refused:
            # its lease runs out and it is delivered again
            logger.error(
                "task %s: its outcome is refused",
                item[0].delivery.task_id,
                exc_info=error,
                extra=item[0].labels,
            )
            self._tell(lane, [item], (Settled.FENCED,))

    def _tell(self, lane: _Lane, items: Sequence[Item], answers: Sequence[Settled]) -> None:
        lane.sent(items)
        self._answered(items, self._doubted(items, answers) if self._interrupted else answers)

    def _doubted(self, items: Sequence[Item], answers: Sequence[Settled]) -> Sequence[Settled]:
        """The answers but for leases that seem lost, and of which the first answer was not heard.

        They are lost by being settled. Who is to run a call at most once must know it for certain.
        """
        return [
            Settled.SETTLED
            if attempt in self._interrupted and attempt.on_settled is None
            else answer
            for (attempt, _), answer in zip(items, answers, strict=True)
        ]

    async def _settle(self, items: Sequence[Item]) -> Sequence[Settled]:
        settlements = [settlement for _, settlement in items]
        if self._results is None or not any(map(_record, settlements)):
            return await self._transport.settle(settlements)
        # who has lost the lease must not overwrite the record of who has it now
        leases = await self._transport.renew([s.receipt for s in settlements])
        held = [s for s, lease in zip(settlements, leases, strict=True) if lease is not Lease.LOST]
        await _store(self._results, held)
        # a lease is lost, too, where it was settled and the answer was lost: the broker knows
        return await self._transport.settle([_without_record(s) for s in settlements])

    async def _conclude(self, items: Sequence[Item]) -> Sequence[Settled]:
        """What is left to do for calls whose message was settled before they ran."""
        settlements = [self._once(attempt, settlement) for attempt, settlement in items]
        await _store(self._results or self._transport, settlements)
        retries = [s.publication for s in settlements if isinstance(s, Retry)]
        if retries:
            self._republished.update(attempt for attempt, _ in items)
            await self._transport.publish(retries)
        self._republished.difference_update(attempt for attempt, _ in items)
        return [Settled.SETTLED] * len(items)

    def _once(self, attempt: Attempt, settlement: Settlement) -> Settlement:
        """Publish again what may have been published only while it is not due.

        Later it may have run already and be gone, so that it would run twice.
        """
        if (
            not isinstance(settlement, Retry)
            or attempt not in self._republished
            or self._now() < settlement.publication.not_before
        ):
            return settlement
        logger.error(
            "task %s (%s): its retry may be lost with the connection; it runs at most once",
            attempt.name,
            attempt.delivery.task_id,
            extra=attempt.labels,
        )
        return without_retry(settlement)


async def _store(transport: Transport, settlements: Sequence[Settlement]) -> None:
    records = [record for s in settlements if (record := _record(s))]
    if records:
        await transport.store(records)


def _record(settlement: Settlement) -> Record | None:
    return None if isinstance(settlement, Release) else settlement.record


def _without_record(settlement: Settlement) -> Settlement:
    return settlement if isinstance(settlement, Release) else replace(settlement, record=None)
