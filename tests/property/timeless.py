"""Any transport, asked so that nothing comes due or ends: for servers whose clock cannot be moved.

Leases, delays, keys and records outlast the test, and the clock of the model stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from msgspec.structs import replace

from chicory.testing import ManualClock
from chicory.transport import (
    Publication,
    Record,
    Release,
    Retry,
    Settlement,
    Transport,
    WorkerRecord,
)

LONG = 1e5
"""Seconds that no test takes."""


class StillClock(ManualClock):
    """The model's."""

    def advance(self, seconds: float) -> None:
        """Stand still."""


class Timeless:
    """A transport whose every verb is given a time that is over, or will not be."""

    def __init__(self, transport: Transport, now: float) -> None:
        self._transport: Any = transport
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def clone(self) -> Self:
        return type(self)(self._transport.clone(), self._now)

    async def publish(self, publications: Sequence[Publication]) -> Any:
        return await self._transport.publish([self.publication(one) for one in publications])

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        return await self._transport.settle([self.settlement(one) for one in settlements])

    async def cancel(self, records: Sequence[Record]) -> Any:
        return await self._transport.cancel([_kept(one) for one in records])

    async def store(self, records: Sequence[Record]) -> None:
        await self._transport.store([_kept(one) for one in records])

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Any:
        return await self._transport.replay([(i, self.publication(one)) for i, one in items])

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        await self._transport.beat(record, ttl if ttl <= 0 else LONG)

    async def workers(self) -> Sequence[WorkerRecord]:
        return [replace(one, beat_at=0, expires_at=LONG) for one in await self._transport.workers()]

    def publication(self, given: Publication) -> Publication:
        unique = given.unique and replace(given.unique, ttl=LONG)
        return replace(given, not_before=self._time(given.not_before), unique=unique)

    def settlement(self, given: Settlement) -> Settlement:
        if isinstance(given, Release):
            return replace(given, not_before=self._time(given.not_before))
        record = given.record and _kept(given.record)
        after = tuple(self.publication(one) for one in given.follow_ups)
        if isinstance(given, Retry):
            again = self.publication(given.publication)
            return replace(given, publication=again, record=record, follow_ups=after)
        return replace(given, record=record, follow_ups=after)

    def _time(self, moment: float) -> float:
        return 0.0 if moment <= self._now else moment + 4e9


def _kept(given: Record) -> Record:
    return replace(given, ttl=LONG)
