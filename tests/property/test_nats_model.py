"""NATS answers as the transport in memory does, whatever is asked of both, while no time passes.

The server's clock cannot be moved: so leases, delays, keys and records outlast the test on it, and
the clock of the model stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from msgspec.structs import replace
from property.test_transport_model import EXAMPLES, TransportModel
from servers.nats import NatsServer

from chicory.testing import ManualClock, MemoryTransport
from chicory.transport import (
    Publication,
    Record,
    Release,
    Retry,
    Settlement,
    TransportSettings,
    WorkerRecord,
)
from chicory_nats import NatsTransport

pytestmark = [pytest.mark.slow, pytest.mark.unfinished]

_LONG = 1e5
"""Seconds that no test takes."""


class _StillClock(ManualClock):
    def advance(self, seconds: float) -> None:
        """Stand still."""


class _Timeless:
    """The transport, asked so that nothing comes due or ends."""

    def __init__(self, transport: NatsTransport, now: float) -> None:
        self._transport = transport
        self._now = now
        self._ttl: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def clone(self) -> Self:
        return type(self)(self._transport.clone(), self._now)

    async def publish(self, publications: Sequence[Publication]) -> Any:
        # one by one: of a batch those come later for which more than one look is needed
        return [
            (await self._transport.publish([self._publication(one)]))[0] for one in publications
        ]

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        return [(await self._transport.settle([self._settlement(one)]))[0] for one in settlements]

    async def cancel(self, records: Sequence[Record]) -> Any:
        return await self._transport.cancel([_record(one) for one in records])

    async def store(self, records: Sequence[Record]) -> None:
        await self._transport.store([_record(one) for one in records])

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Any:
        return await self._transport.replay([(i, self._publication(one)) for i, one in items])

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        await self._transport.beat(record, ttl if ttl <= 0 else _LONG)

    async def workers(self) -> Sequence[WorkerRecord]:
        return [
            replace(one, beat_at=0, expires_at=_LONG) for one in await self._transport.workers()
        ]

    def _publication(self, given: Publication) -> Publication:
        unique = given.unique and replace(given.unique, ttl=_LONG)
        return replace(given, not_before=self._time(given.not_before), unique=unique)

    def _settlement(self, given: Settlement) -> Settlement:
        if isinstance(given, Release):
            return replace(given, not_before=self._time(given.not_before))
        record = given.record and _record(given.record)
        after = tuple(self._publication(one) for one in given.follow_ups)
        if isinstance(given, Retry):
            again = self._publication(given.publication)
            return replace(given, publication=again, record=record, follow_ups=after)
        return replace(given, record=record, follow_ups=after)

    def _time(self, moment: float) -> float:
        return 0.0 if moment <= self._now else moment + 4e9


def _record(given: Record) -> Record:
    return replace(given, ttl=_LONG)


class NatsModel(TransportModel):
    """The same rules, on a server that all examples share."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super(TransportModel, self).__init__()
        self.fetched = []
        self.letters = []
        self.serial = count(1).__next__
        self.swaps = cycle((True, False, False, True, True))
        self.clock = _StillClock()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = _Timeless(MemoryTransport(self.settings("memory://")), self.clock.now())
        self.real = _Timeless(NatsTransport(self._settings()), self.clock.now())
        self.other = self.real.clone()
        for transport in (self.model, self.real, self.other):
            self.runner.run(transport.open())

    def _settings(self) -> TransportSettings:
        return TransportSettings(url=self.url, namespace=uuid4().hex, lease=_LONG)


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        NatsModel.url = server.url
        yield


TestNatsModel = NatsModel.TestCase
TestNatsModel.settings = settings(
    max_examples=EXAMPLES or 25,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
)
