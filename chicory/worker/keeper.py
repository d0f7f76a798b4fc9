"""The keeper: what must go on although user code blocks the event loop.

One thread with an asyncio loop and connections of its own. It renews the leases of what the
worker holds, sends the heartbeat, and watches the worker's event loop: that it answers, and
that what waits in the queue is fetched. Nothing is fetched before it can renew leases.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TypeVar

from chicory.config import WorkerConfig
from chicory.errors import BrokerConnectionError
from chicory.logs import unfailing
from chicory.memory import resident
from chicory.transport import Settled, Transport, WorkerRecord
from chicory.worker import fetchwatch
from chicory.worker.farewell import Farewell
from chicory.worker.fetchwatch import FetchWatch
from chicory.worker.insistence import Insistence, together
from chicory.worker.loopwatch import LoopWatch
from chicory.worker.orders import Orders
from chicory.worker.renewal import Renewal
from chicory.worker.settler import Item, Settler
from chicory.worker.ward import Ward

logger = unfailing("chicory.worker")

T = TypeVar("T")

WEIGH_EVERY = 1.0
"""Seconds between looks at the memory in use."""
LATE = 1.0
"""Seconds that the keeper may be late to notice that an answer is."""
CONNECTING = 60.0
"""Seconds for one attempt to connect, which begins anew: a transport may try several servers."""
LAST_WORDS = 5.0
"""Seconds for the last heartbeat."""
LAST_WILL = 1.5
"""Seconds to settle what a worker leaves that cannot end."""


def _unheard(_: Sequence[Item], __: Sequence[Settled]) -> None:
    """Nobody is left to be told."""


class Keeper:
    """Runs from ``start`` to ``stop``, which may be called on any event loop.

    Attributes:
        renewal: keeps the leases.
        fetch: watches over the worker's fetch.

    Args:
        ward: the worker.
        transports: the broker's, and the backend's if that is another server; unopened.
        lease: seconds that a renewal lasts.
        config: how often to beat, and how long the event loop may be blocked.
    """

    def __init__(
        self, ward: Ward, transports: list[Transport], lease: float, config: WorkerConfig
    ) -> None:
        self._ward = ward
        self._transports = transports
        self._config = config
        self._watch = LoopWatch(ward, config, lease / 4)
        self.fetch = FetchWatch(ward, transports[0], self._watch)
        self.renewal = Renewal(ward, transports[0], lease, self._watch)
        self._orders = Orders(ward.shift, self.renewal.extend)
        self._thread = threading.Thread(target=self._main, name="chicory keeper", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_dismissed = False
        self._opened: list[Transport] = []
        self._has_beaten = False
        self._untold = list(transports)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def dismiss(self) -> None:
        """Have it send the last heartbeat, disconnect, and end the thread; does not wait."""
        self._is_dismissed = True  # where it has only just begun it sees this
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        """``dismiss`` it, and wait until that is done."""
        self.dismiss()
        if self._thread.is_alive():
            self._thread.join(10)

    # -- what others ask, from their threads -----------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether it does its duties."""
        return self._thread.is_alive()

    @property
    def blocked(self) -> float:
        """Seconds for which the worker's event loop has owed an answer."""
        return self._watch.blocked

    @property
    def refusal(self) -> str:
        """Why the broker refuses to be fetched from any more; empty where it does not."""
        return self._ward.shift.intake.refusal

    def ask(self, question: Callable[[Sequence[Transport]], Awaitable[T]], seconds: float) -> T:
        """What its connections say; not from its own thread.

        Raises ``BrokerConnectionError`` where there are none, or no answer comes in time.
        """
        loop = self._loop
        if loop is None or not self._opened:
            raise BrokerConnectionError("the keeper is not connected to the broker yet")
        asking = self._ask(question, seconds)
        try:
            # in a context of its own: the caller's may say that trio runs
            asked = Context().run(asyncio.run_coroutine_threadsafe, asking, loop)
            return asked.result(seconds + LATE)
        except (TimeoutError, CancelledError):
            raise BrokerConnectionError(f"no answer within {seconds:g} s") from None
        except RuntimeError:
            asking.close()
            raise BrokerConnectionError("the keeper has ended") from None

    def abandon(self) -> None:
        """Settle in the worker's place what it holds, and stop; not from its own thread.

        For a worker whose event loop does not come to it.
        """
        with suppress(BrokerConnectionError):
            self.ask(self._inherit, LAST_WILL)
        self.stop()

    async def _inherit(self, transports: Sequence[Transport]) -> None:
        results = transports[1] if len(transports) > 1 else None
        farewell, shift = Farewell(), self._ward.shift
        settler = Settler(transports[0], results, farewell, time.time, _unheard)
        for attempt, settlement in shift.bench.custody.bequeath():
            settler.add(attempt, settlement)
        farewell.begin(LAST_WILL)
        await settler.drain()

    async def _ask(
        self, question: Callable[[Sequence[Transport]], Awaitable[T]], seconds: float
    ) -> T:
        async with asyncio.timeout(seconds):
            return await question(self._transports)

    # -- its life -------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception:
            logger.exception("the keeper died: leases are not renewed any more")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if not self._is_dismissed:
            duties = asyncio.create_task(together(self._keep(), self._watch.run()))
            await self._stop.wait()
            duties.cancel()
            await asyncio.wait([duties], timeout=LAST_WORDS)
        await self._leave()

    async def _keep(self) -> None:
        insistence = Insistence(self.renewal.tick * 2)  # a renewal must not come too late
        broker, *others = self._transports
        await self._connect(broker)
        self._ward.loop.call_soon(self._ward.shift.intake.permit)
        await together(
            insistence.every(self.renewal.tick, self.renewal.renew, "renewing leases"),
            self._report(insistence, broker),
            insistence.every(fetchwatch.DEAF_AFTER, self.fetch.look, "looking at the queue"),
            insistence.every(WEIGH_EVERY, self._weigh, "looking at the memory"),
            insistence.once(self._heed, "listening for cancellations"),
            *(self._attend(insistence, other) for other in others),
        )

    async def _connect(self, transport: Transport) -> None:
        await Insistence(CONNECTING).once(transport.open, "the keeper's connecting")
        self._opened.append(transport)

    async def _attend(self, insistence: Insistence, transport: Transport) -> None:
        """What a backend on another server is told; leases need not wait for it."""
        await self._connect(transport)
        await self._report(insistence, transport)

    async def _report(self, insistence: Insistence, transport: Transport) -> None:
        beat = partial(self._beat, transport)
        await insistence.every(self._config.heartbeat_interval, beat, "the heartbeat")

    async def _leave(self) -> None:
        record = self._ward.record()
        for transport in self._transports:
            if transport in self._opened:
                await self._part(
                    self._last_beat(transport, record), "the last heartbeat could not be sent"
                )
            await self._part(transport.close(), "the keeper's connection could not be closed")

    async def _part(self, step: Awaitable[None], otherwise: str) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await step
        except Exception as error:  # noqa: BLE001  (what follows is to be done all the same)
            logger.warning("%s: %r", otherwise, error)

    async def _last_beat(self, transport: Transport, record: WorkerRecord) -> None:
        await transport.beat(record, self._config.heartbeat_ttl)
        logger.info("worker %s: last heartbeat sent: stopped", record.worker_id)

    # -- its duties -----------------------------------------------------------------------

    async def _heed(self) -> None:
        await self._orders.listen(self._transports[0])

    async def _weigh(self) -> None:
        limit = self._config.max_memory
        if limit is not None and (used := resident()) > limit:
            why = f"it has {used:,} MiB of memory, more than {limit:,}"
            self._ward.loop.call_soon(self._ward.retire, why)

    async def _beat(self, transport: Transport) -> None:
        record = self._ward.record()
        await transport.beat(record, self._config.heartbeat_ttl)
        if not self._has_beaten:
            self._has_beaten = True
            logger.info(
                "worker %s: first heartbeat sent, one every %g s",
                record.worker_id,
                self._config.heartbeat_interval,
            )
        if transport in self._untold:
            self._untold.remove(transport)
            if not self._untold:
                self._ward.loop.call_soon(self._ward.known)
