"""Settlement by group commit: slots drop outcomes into a buffer and go on.

While one batch is under way the next one gathers. A batch that could not be sent is sent again,
for as long as the worker lives: settling twice is harmless, an outcome lost is not.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from anyio import CancelScope, Event
from msgspec.structs import replace

from chicory.errors import BrokerConnectionError, ChicoryError, QueueFullError
from chicory.transport import Release, Retry, Settled, Settlement, Transport
from chicory.worker.attempt import Attempt
from chicory.worker.patience import Patience

MAX_BATCH = 128
"""More in one step would make other clients of the broker wait."""

logger = logging.getLogger("chicory.worker")

Answer = Callable[[Attempt, Settled], None]
_Item = tuple[Attempt, Settlement]


class Settler:
    """Sends settlements; ``answered(attempt, settled)`` is called for each one.

    Args:
        transport: where the deliveries came from.
        results: where records go, if that is another server: they are stored first there, and
            the delivery is settled after.
        answered: called on the event loop.
    """

    def __init__(self, transport: Transport, results: Transport | None, answered: Answer) -> None:
        self._transport = transport
        self._results = results
        self._answered = answered
        self._buffer: deque[_Item] = deque()
        self._sending: list[_Item] = []
        self._wanted: Event | None = None
        self._patience = Patience("settling")

    @property
    def backlog(self) -> int:
        """Outcomes that are not durable yet."""
        return len(self._buffer) + len(self._sending)

    def add(self, attempt: Attempt, settlement: Settlement) -> None:
        """Settle soon; does not wait."""
        self._buffer.append((attempt, settlement))
        if self._wanted is not None:
            self._wanted.set()
            self._wanted = None

    async def run(self) -> None:
        """Send what is added, until cancelled."""
        while True:
            await self.drain()
            self._wanted = Event()
            await self._wanted.wait()

    async def drain(self) -> None:
        """Send until nothing is left."""
        while self._buffer or self._sending:
            if not self._sending:
                self._sending = [
                    self._buffer.popleft() for _ in range(min(MAX_BATCH, len(self._buffer)))
                ]
            await self._send()

    async def _send(self) -> None:
        try:
            # a step that is under way is awaited: whether it was done must be known
            with CancelScope(shield=True):
                answers = await self._settle(self._sending)
                self._patience.over()
                sent, self._sending = self._sending, []
                for (attempt, _), answer in zip(sent, answers, strict=True):
                    self._answered(attempt, answer)
        except (BrokerConnectionError, QueueFullError) as error:
            await self._patience.after(error)
        except ChicoryError:
            await self._settle_singly()

    async def _settle_singly(self) -> None:
        """One of the batch is refused: find it, so that the others do not suffer with it."""
        items, self._sending = self._sending, []
        for attempt, settlement in items:
            answer = Settled.FENCED
            try:
                with CancelScope(shield=True):
                    answer = (await self._settle([(attempt, settlement)]))[0]
            except ChicoryError:
                # its lease runs out and it is delivered again
                logger.exception("task %s: its outcome is refused", attempt.delivery.task_id)
            self._answered(attempt, answer)

    async def _settle(self, items: Sequence[_Item]) -> Sequence[Settled]:
        leased = [s for attempt, s in items if not attempt.acknowledged]
        await self._aftermath([s for attempt, s in items if attempt.acknowledged])
        if self._results is not None:
            await _store(self._results, leased)
            leased = [_without_record(s) for s in leased]
        answers = iter(await self._transport.settle(leased) if leased else ())
        return [Settled.SETTLED if attempt.acknowledged else next(answers) for attempt, _ in items]

    async def _aftermath(self, settlements: Sequence[Settlement]) -> None:
        """What is left to do for calls whose message was settled before they ran."""
        if not settlements:
            return
        retries = [s.publication for s in settlements if isinstance(s, Retry)]
        if retries:
            await self._transport.publish(retries)
        await _store(self._results or self._transport, settlements)


async def _store(transport: Transport, settlements: Sequence[Settlement]) -> None:
    records = [s.record for s in settlements if not isinstance(s, Release) and s.record]
    if records:
        await transport.store(records)


def _without_record(settlement: Settlement) -> Settlement:
    return settlement if isinstance(settlement, Release) else replace(settlement, record=None)
