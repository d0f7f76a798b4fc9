"""The renewal of leases: of all that the worker holds, time and again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chicory.transport import Lease, Receipt, Transport
from chicory.worker.loopwatch import LoopWatch
from chicory.worker.ward import Ward


class Renewal:
    """Runs on the keeper's event loop; its properties may be read from any thread.

    Attributes:
        tick: seconds from one renewal to the next.

    Args:
        ward: the worker.
        broker: on the keeper's own connection.
        lease: seconds that a renewal lasts.
        watch: nothing is renewed for an event loop that it has given up.
    """

    def __init__(self, ward: Ward, broker: Transport, lease: float, watch: LoopWatch) -> None:
        self.tick = lease / 4
        self._ward = ward
        self._broker = broker
        self._lease = lease
        self._watch = watch
        self._since: float | None = None

    @property
    def lapsed(self) -> float:
        """Seconds for which leases have not been renewed, once that is longer than they last."""
        since = self._since
        seconds = 0.0 if since is None else time.monotonic() - since
        return seconds if seconds > self._lease else 0.0

    @property
    def is_cut_off(self) -> bool:
        """Whether the broker has answered the worker since it answers the keeper no more."""
        since = self._since
        heard_at = self._ward.shift.bench.custody.heard_at
        # both need not lose it at once where it is gone
        return since is not None and heard_at > since + self.tick

    async def renew(self) -> None:
        """Renew what is due. After a lapse nothing is fetched until that is done."""
        now = time.monotonic()
        self._since = self._since or now
        intake, lapsed = self._ward.shift.intake, self.lapsed
        if lapsed:
            self._ward.loop.call_soon(intake.forbid)
            await self._broker.ping()  # there may be nothing to renew
        # a call that has only just been fetched mostly ends before its lease needs renewing
        receipts = [
            attempt.delivery.receipt
            for attempt in list(self._ward.shift.held.values())
            if now - attempt.fetched_at > self.tick / 2
        ]
        await self.extend(receipts)
        self._since = None
        if lapsed:
            self._ward.loop.call_soon(intake.permit)

    async def extend(self, receipts: Sequence[Receipt]) -> None:
        """Renew these now, and tell the worker what it has lost or is to cancel."""
        if self._watch.given_up or not receipts:
            return
        for receipt, lease in zip(receipts, await self._broker.renew(receipts), strict=True):
            if lease is Lease.LOST:
                self._ward.loop.call_soon(self._ward.shift.bench.lost, receipt)
            elif lease is Lease.CANCEL_REQUESTED:
                self._ward.loop.call_soon(self._ward.shift.bench.cancel, receipt)
