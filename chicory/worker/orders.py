"""Orders to cancel calls, pushed to every worker: who runs one of them asks the broker at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from chicory.cancellation import ORDERS, ordered
from chicory.errors import ChicoryError
from chicory.logs import unfailing
from chicory.transport import Receipt, Transport
from chicory.worker.shift import Shift

logger = unfailing("chicory.worker")


class Orders:
    """Listens on the keeper's event loop. An order that is missed costs a renewal's time only.

    Args:
        shift: what the worker holds.
        ask: renews leases, and obeys what the broker says of them.
    """

    def __init__(self, shift: Shift, ask: Callable[[Sequence[Receipt]], Awaitable[None]]) -> None:
        self._shift = shift
        self._ask = ask
        self._asking: set[asyncio.Task[None]] = set()

    async def listen(self, transport: Transport) -> None:
        """Begin. Raises ``BrokerConnectionError``."""
        await transport.watch([ORDERS], self._receive)

    def _receive(self, _: str, body: bytes) -> None:
        wanted = frozenset(ordered(body))
        receipts = [
            attempt.delivery.receipt
            for attempt in list(self._shift.held.values())
            if attempt.delivery.task_id in wanted
        ]
        if receipts:
            task = asyncio.get_running_loop().create_task(self._obey(receipts))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _obey(self, receipts: Sequence[Receipt]) -> None:
        try:
            await self._ask(receipts)
        except ChicoryError as error:
            logger.debug("an order to cancel waits for the next renewal: %s", error)
